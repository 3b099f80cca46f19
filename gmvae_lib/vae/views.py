"""Random views of an image that leave its letter alone: what q(c|x) is asked not to notice.

Rows of features have views, too: some of their values are replaced.
"""

from functools import partial

import torch
import torch.nn.functional as F

from gmvae_lib.vae.config import VIEWS
from gmvae_lib.vae.distributed import SharedGenerator, draw, gather

CORRUPTED = 0.2  # share of a row's features that a view replaces, on average


def flat_view(
    x: torch.Tensor,
    image_shape: tuple[int, ...],
    generator: torch.Generator,
    strength: float = 1.0,
    kinds=VIEWS,
) -> torch.Tensor:
    """One random view of each image or row of features, flat as the model takes them: [B, P]."""
    if len(image_shape) == 1:
        return corrupted_rows(x, generator, strength)
    view = random_view(as_planes(x, image_shape), generator, strength, kinds)
    return view.permute(0, 2, 3, 1).flatten(1) if len(image_shape) == 3 else view.flatten(1)


def as_planes(x: torch.Tensor, image_shape: tuple[int, ...]) -> torch.Tensor:
    """Flat images [B, P] as planes of one colour each: [B, 1, H, W], or [B, 3, H, W]."""
    if len(image_shape) == 3:
        return x.view(-1, *image_shape).permute(0, 3, 1, 2)
    return x.view(-1, 1, *image_shape)


def corrupted_rows(
    x: torch.Tensor, generator: torch.Generator, strength: float = 1.0
) -> torch.Tensor:
    """Rows of features with a random share of their values replaced: float [B, D] -> the same.

    Each value comes from another row of the batch, drawn for each feature by itself, as in SCARF
    (Bahri et al. 2022). The share differs from row to row, evenly between 0 and twice `CORRUPTED`
    at strength 1. ``generator`` lives on the CPU, so that the draws do not depend on the device.
    """
    batch = len(x)
    share = (2 * CORRUPTED * strength * draw(torch.rand, (batch, 1), generator)).clamp(max=1)
    replaced = draw(torch.rand, x.shape, generator) < share
    donors = gather(x) if isinstance(generator, SharedGenerator) else x  # the whole batch
    donor = draw(partial(torch.randint, len(donors)), x.shape, generator)
    return torch.where(replaced.to(x.device), donors.gather(0, donor.to(x.device)), x)


def random_view(
    x: torch.Tensor, generator: torch.Generator, strength: float = 1.0, kinds=VIEWS
) -> torch.Tensor:
    """One random view of each image: float [B, 1, H, W] or [B, 3, H, W] in [0, 1] -> the same.

    Affine (rotation, scale, shear, shift) and elastic distortion in one resampling, then stroke
    thickness and ink intensity. Thickness and intensity matter: two views that share them let
    mutual information cluster on the pen instead of the letter. The colours of an image move and
    thicken together; its intensity changes a little more in one than in the others, as under
    another light. ``generator`` lives on the CPU, so that the draws do not depend on the device; in
    several processes it is a `SharedGenerator`. ``kinds`` leaves some of `VIEWS` out.
    """
    batch = len(x)

    def uniform(*shape):
        return draw(torch.rand, (batch, *shape), generator) * 2 - 1  # [-1, 1)

    angle, shear = 0.25 * strength * uniform(), 0.30 * strength * uniform()
    scale_x, scale_y = 1 + 0.20 * strength * uniform(), 1 + 0.20 * strength * uniform()
    shift = 0.14 * strength * uniform(2)  # of half the image: about 2 pixels of 28
    cos, sin = angle.cos(), angle.sin()
    if "affine" not in kinds:
        cos, sin, shear, shift = torch.ones(batch), torch.zeros(batch), shear * 0, shift * 0
        scale_x = scale_y = torch.ones(batch)
    matrix = torch.stack(
        [
            torch.stack([scale_x * cos, scale_x * (shear * cos - sin), shift[:, 0]], 1),
            torch.stack([scale_y * sin, scale_y * (shear * sin + cos), shift[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    coarse = 0.08 * strength * draw(torch.randn, (batch, 2, 5, 5), generator)
    if "elastic" not in kinds:
        coarse = coarse * 0
    elastic = F.interpolate(coarse, x.shape[2:], mode="bicubic", align_corners=True)
    grid = (grid + elastic.permute(0, 2, 3, 1)).to(x.device)
    # what moves in from outside: background, which is 0 in grey images; in colour, the border's
    padding = "border" if x.shape[1] == 3 else "zeros"
    x = F.grid_sample(x, grid, padding_mode=padding, align_corners=False)

    # thicker: blend towards the 3x3 maximum; thinner: towards the 3x3 minimum, never all the way,
    # which would erase a thin stroke
    thickness = (strength * uniform(1, 1, 1)).to(x.device)
    if "thickness" not in kinds:
        thickness = thickness * 0
    thick, thin = F.max_pool2d(x, 3, 1, 1), -F.max_pool2d(-x, 3, 1, 1)
    x = torch.lerp(x, torch.where(thickness > 0, thick, thin), thickness.abs().clamp(max=0.7))

    intensity = (1 + 0.4 * strength * uniform(1, 1, 1)).to(x.device)
    if x.shape[1] == 3:
        intensity = intensity * (1 + 0.1 * strength * uniform(3, 1, 1)).to(x.device)
    return (x * intensity if "intensity" in kinds else x).clamp(0, 1)
