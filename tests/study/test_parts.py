import numpy as np
import pytest

from gmvae_lib.errors import InputError
from gmvae_lib.study.parts import METALS, PART_NAMES, draw_parts


def test_shape_balance_and_repeatability():
    images, labels = draw_parts(1200, seed=1)
    assert images.shape == (1200, 28, 28, 3) and images.dtype == np.uint8
    assert np.bincount(labels, minlength=len(PART_NAMES)).tolist() == [100] * len(PART_NAMES)
    again, _ = draw_parts(1200, seed=1)
    assert np.array_equal(images, again)
    assert not np.array_equal(images, draw_parts(1200, seed=2)[0])


def test_metals_differ_in_colour_and_hardly_in_grey():
    images, labels = draw_parts(600, seed=0)
    brass, copper = (
        # the brightest tenth of the pixels is metal
        np.sort(images[labels % 3 == list(METALS).index(metal)].reshape(200, -1, 3), axis=1)[
            :, -78:
        ]
        for metal in ("brass", "copper")
    )
    colour = brass.mean((0, 1)) - copper.mean((0, 1))
    assert abs(colour @ [0.299, 0.587, 0.114]) < 10 < abs(colour).max()


def test_a_picture_can_be_of_any_size():
    assert draw_parts(3, size=41)[0].shape == (3, 41, 41, 3)


@pytest.mark.parametrize(("n", "size"), [(0, 28), (5, 7)])
def test_refuses_nothing_and_tiny(n, size):
    with pytest.raises(InputError, match="expected n at least 1"):
        draw_parts(n, size=size)
