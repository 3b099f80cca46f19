"""Random views of an image that leave its letter alone: what q(c|x) is asked not to notice."""

import torch
import torch.nn.functional as F

from .config import VIEWS
from .distributed import draw


def random_view(
    x: torch.Tensor, generator: torch.Generator, strength: float = 1.0, kinds=VIEWS
) -> torch.Tensor:
    """One random view of each image: float [B, 1, H, W] in [0, 1] -> the same shape.

    Affine (rotation, scale, shear, shift) and elastic distortion in one resampling, then stroke
    thickness and ink intensity. Thickness and intensity matter: two views that share them let
    mutual information cluster on the pen instead of the letter. ``generator`` lives on the CPU,
    so that the draws do not depend on the device; in several processes it is a `SharedGenerator`.
    ``kinds`` leaves some of `VIEWS` out.
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
    x = F.grid_sample(x, grid, align_corners=False)

    # thicker: blend towards the 3x3 maximum; thinner: towards the 3x3 minimum, never all the way,
    # which would erase a thin stroke
    thickness = (strength * uniform(1, 1, 1)).to(x.device)
    if "thickness" not in kinds:
        thickness = thickness * 0
    thick, thin = F.max_pool2d(x, 3, 1, 1), -F.max_pool2d(-x, 3, 1, 1)
    x = torch.lerp(x, torch.where(thickness > 0, thick, thin), thickness.abs().clamp(max=0.7))

    intensity = (1 + 0.4 * strength * uniform(1, 1, 1)).to(x.device)
    return (x * intensity if "intensity" in kinds else x).clamp(0, 1)
