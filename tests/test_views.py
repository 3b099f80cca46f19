"""Random views: range, shape, reproducibility, and that the letter survives."""

import numpy as np
import pytest
import torch

from gmvae_lib.config import VIEWS
from gmvae_lib.views import random_view


def batch(letters, n=64):
    return torch.from_numpy(letters.images[:n]).float()[:, None] / 255


def test_views_are_images_and_follow_the_generator(letters):
    x = batch(letters)
    first = random_view(x, torch.Generator().manual_seed(0))
    assert first.shape == x.shape and 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, random_view(x, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, random_view(x, torch.Generator().manual_seed(1)))


def test_strength_zero_changes_nothing(letters):
    x = batch(letters)
    view = random_view(x, torch.Generator().manual_seed(0), strength=0.0)
    torch.testing.assert_close(view, x, atol=1e-4, rtol=0)


def test_a_view_resembles_its_image_more_than_the_others(letters):
    x = batch(letters, 200)
    views = random_view(x, torch.Generator().manual_seed(0)).flatten(1)
    similarity = (
        torch.nn.functional.normalize(views, dim=1)
        @ torch.nn.functional.normalize(x.flatten(1), dim=1).T
    )
    assert (similarity.argmax(1) == torch.arange(200)).float().mean() > 0.2  # chance: 0.005


def test_ink_is_never_wiped_out(letters):
    x = batch(letters, 500)
    views = random_view(x, torch.Generator().manual_seed(0))
    assert (views.amax(dim=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("kind", VIEWS)
def test_every_kind_of_view_changes_the_image_alone(kind, letters):
    x = torch.from_numpy(letters.images[:20] / np.float32(255))[:, None]
    view = random_view(x, torch.Generator().manual_seed(0), kinds=(kind,))
    assert (view - x).abs().flatten(1).mean(1).min() > 1e-4
    untouched = random_view(x, torch.Generator().manual_seed(0), kinds=())
    torch.testing.assert_close(untouched, x, atol=1e-5, rtol=0)
