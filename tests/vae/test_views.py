"""Random views: range, shape, reproducibility, and that the letter survives."""

import numpy as np
import pytest
import torch

from gmvae_lib.vae.config import FURTHER_VIEWS, VIEWS
from gmvae_lib.vae.views import (
    CORRUPTED,
    as_planes,
    corrupted_rows,
    draw_view,
    flat_view,
    random_view,
)


def batch(letters, n=64):
    return torch.from_numpy(letters.images[:n]).float()[:, None] / 255


def test_views_are_images_and_follow_the_generator(letters):
    x = batch(letters)
    first = random_view(x, torch.Generator().manual_seed(0))
    assert first.shape == x.shape and 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, random_view(x, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, random_view(x, torch.Generator().manual_seed(1)))


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


@pytest.mark.parametrize("kind", (*VIEWS, "crop", "turn", "light"))
def test_every_kind_of_view_changes_the_image_alone(kind, letters):
    x = torch.from_numpy(letters.images[:20] / np.float32(255))[:, None]
    view = random_view(x, torch.Generator().manual_seed(0), kinds=(kind,))
    assert (view - x).abs().flatten(1).mean(1).min() > 1e-4
    untouched = random_view(x, torch.Generator().manual_seed(0), kinds=())
    torch.testing.assert_close(untouched, x, atol=1e-5, rtol=0)


def colour_batch(n=40, size=12):
    """Grey squares on their own grey background, as colour images [n, 3, H, W]."""
    rng = np.random.default_rng(0)
    x = torch.zeros(n, 3, size, size)
    x[:, :, 3:8, 4:9] = torch.from_numpy(rng.uniform(0.3, 0.6, (n, 1, 1, 1))).float()
    return x + 0.1


def test_colours_of_a_view_move_together():
    """What was grey stays grey but for a tint: one factor a colour for the whole image."""
    x = colour_batch()
    view = random_view(x, torch.Generator().manual_seed(0))
    assert view.shape == x.shape and 0 <= view.min() and view.max() <= 1
    tint = view.mean((2, 3), keepdim=True)
    torch.testing.assert_close(view / tint, (view / tint)[:, :1].expand_as(view))
    ratio = tint[:, 0] / tint[:, 1]
    assert 0.8 < ratio.min() < 0.99 and 1.01 < ratio.max() < 1.25  # mild, and there
    # no black wedges move in from outside
    assert view.min() > 0.04
    untinted = random_view(x, torch.Generator().manual_seed(0), kinds=("affine", "elastic"))
    torch.testing.assert_close(untinted[:, :1].expand_as(x), untinted)


def test_colour_views_of_no_kind_change_nothing():
    x = colour_batch()
    view = random_view(x, torch.Generator().manual_seed(0), kinds=())
    torch.testing.assert_close(view, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_flat_views_are_the_views_of_the_planes(shape):
    x = torch.rand(6, int(np.prod(shape)), generator=torch.Generator().manual_seed(1))
    planes = as_planes(x, shape)
    channels_last = x.view(6, *shape).reshape(6, 5, 7, -1)
    torch.testing.assert_close(planes, channels_last.permute(0, 3, 1, 2))
    view = random_view(planes, torch.Generator().manual_seed(0))
    expected = view.permute(0, 2, 3, 1).reshape(6, -1)
    assert torch.equal(flat_view(x, shape, torch.Generator().manual_seed(0)), expected)


def test_corrupted_rows_take_other_rows_values_of_the_same_feature():
    n, d = 400, 30
    x = torch.arange(n * d, dtype=torch.float32).view(n, d)  # every value occurs once
    view = flat_view(x, (d,), torch.Generator().manual_seed(0))
    assert torch.equal(view % d, x % d)  # the same feature, of whatever row
    kept = (view == x).float().mean(1)
    # fails by chance less than once in 10^6: standard errors 0.01 and 0.03
    assert 1 - kept.mean() == pytest.approx(CORRUPTED, abs=0.05)
    assert kept.std() == pytest.approx(2 * CORRUPTED / 12**0.5, abs=0.05)  # the share differs
    again = corrupted_rows(x, torch.Generator().manual_seed(0))
    assert torch.equal(view, again)


def test_views_of_other_pictures_leave_those_of_handwriting_as_they_were(letters):
    """The numbers of the further kinds are drawn last, and only where they are asked for."""
    before = draw_view(4, (28, 28), torch.Generator().manual_seed(0))
    more = draw_view(4, (28, 28), torch.Generator().manual_seed(0), FURTHER_VIEWS)
    assert set(more) > set(before)
    assert all(torch.equal(before[name], more[name]) for name in before)


def test_a_mirrored_view_is_the_image_or_its_mirror_image():
    x = torch.rand(30, 3, 9, 9)
    view = random_view(x, torch.Generator().manual_seed(0), ("mirror",))
    same = (view - x).abs().flatten(1).amax(1) < 1e-4
    turned = (view - x.flip(3)).abs().flatten(1).amax(1) < 1e-4
    assert (same | turned).all() and same.any() and turned.any()


def test_a_window_shows_a_part_of_the_image():
    """Where brightness grows from left to right, a window has less of a range, within the image."""
    x = torch.linspace(0, 1, 40).expand(50, 1, 40, 40).contiguous()
    view = random_view(x, torch.Generator().manual_seed(0), ("crop",))
    span = view.amax((1, 2, 3)) - view.amin((1, 2, 3))
    assert ((0.3**0.5 - 0.1 < span) & (span < 1.001)).all() and span.std() > 0.05
    assert (view[:, :, :, 1:] >= view[:, :, :, :-1] - 1e-4).all()  # not mirrored, not turned


def test_a_turn_keeps_what_is_round():
    y, x = torch.meshgrid(torch.arange(31) - 15.0, torch.arange(31) - 15.0, indexing="ij")
    disc = ((x**2 + y**2) / 60).neg().exp().expand(20, 1, 31, 31).contiguous()
    view = random_view(disc, torch.Generator().manual_seed(0), ("turn",))
    inside = x**2 + y**2 < 14**2
    assert (view - disc)[..., inside].abs().max() < 0.05


def test_grey_pictures_stay_grey_in_another_light():
    x = torch.rand(20, 1, 8, 8).expand(20, 3, 8, 8).contiguous()
    view = random_view(x, torch.Generator().manual_seed(0), ("light",))
    assert 0 <= view.min() and view.max() <= 1
    spread = (view.amax(1) - view.amin(1)).mean()
    assert 0 < spread < 0.2  # a tint, no colours
