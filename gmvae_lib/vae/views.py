"""Random views of an image that leave its letter alone, for the terms that compare two views.

Rows of features have views, too: some of their values are replaced. The random numbers of a view
are drawn apart from the view itself, so that they can come from any device.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F

from gmvae_lib.vae.config import FURTHER_VIEWS, VIEWS
from gmvae_lib.vae.distributed import SharedGenerator, draw, gather

CORRUPTED = 0.2  # share of a row's features that a view replaces, on average


def draw_view(
    n: int, image_shape: tuple[int, ...], generator, kinds=VIEWS
) -> dict[str, torch.Tensor]:
    """The random numbers of one view of n images or rows, [n, ...] each, on generator's device.

    In several processes, generator is a `SharedGenerator`.
    """
    if len(image_shape) == 1:
        world = generator.share.world if isinstance(generator, SharedGenerator) else 1
        return {
            "share": draw(torch.rand, (n, 1), generator),
            "replaced": draw(torch.rand, (n, *image_shape), generator),
            "donor": draw(partial(torch.randint, n * world), (n, *image_shape), generator),
        }

    def uniform(*shape):
        return draw(torch.rand, (n, *shape), generator) * 2 - 1  # [-1, 1)

    drawn = {name: uniform() for name in ("angle", "shear", "scale_x", "scale_y")}
    drawn["shift"] = uniform(2)
    drawn["elastic"] = draw(torch.randn, (n, 2, 5, 5), generator)
    drawn |= {name: uniform(1, 1, 1) for name in ("thickness", "intensity")}
    if len(image_shape) == 3:
        drawn["tint"] = uniform(3, 1, 1)
    if set(kinds) & set(FURTHER_VIEWS):  # drawn last, so that other views stay what they were
        drawn |= {name: uniform() for name in ("zoom", "mirror", "turn")}
        drawn["window"] = uniform(2)
        drawn |= {name: uniform(1, 1, 1) for name in ("contrast", "brightness", "grey")}
    return drawn


def view_of(x: torch.Tensor, image_shape: tuple[int, ...], drawn, kinds=VIEWS, world=1):
    """The view of flat images or rows [B, P] that the numbers of `draw_view` make: [B, P].

    kinds : of `VIEWS`, for images. world : processes among which the batch is divided.
    """
    drawn = {name: value.to(x.device) for name, value in drawn.items()}
    if len(image_shape) == 1:
        return _corrupted(x, drawn, gather(x) if world > 1 else x)
    view = _altered(as_planes(x, image_shape), drawn, kinds)
    return view.permute(0, 2, 3, 1).flatten(1) if len(image_shape) == 3 else view.flatten(1)


def flat_view(x: torch.Tensor, image_shape: tuple[int, ...], generator, kinds=VIEWS):
    """One random view of each image or row of features, flat as the model takes them: [B, P]."""
    return view_of(x, image_shape, draw_view(len(x), image_shape, generator, kinds), kinds)


def as_planes(x: torch.Tensor, image_shape: tuple[int, ...]) -> torch.Tensor:
    """Flat images [B, P] as planes of one colour each: [B, 1, H, W], or [B, 3, H, W]."""
    if len(image_shape) == 3:
        return x.view(-1, *image_shape).permute(0, 3, 1, 2)
    return x.view(-1, 1, *image_shape)


def corrupted_rows(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rows of features with a random share of their values replaced: float [B, D] -> the same.

    Each value comes from another row of the batch, drawn for each feature by itself, as in SCARF
    (Bahri et al. 2022). The share differs from row to row, evenly between 0 and twice `CORRUPTED`.
    """
    return flat_view(x, x.shape[1:], generator)


def _corrupted(x, drawn, donors):
    replaced = drawn["replaced"] < 2 * CORRUPTED * drawn["share"]
    return torch.where(replaced, donors.gather(0, drawn["donor"]), x)


def random_view(x: torch.Tensor, generator: torch.Generator, kinds=VIEWS) -> torch.Tensor:
    """One random view of each image: float [B, 1, H, W] or [B, 3, H, W] in [0, 1] -> the same.

    Affine (rotation, scale, shear, shift) and elastic distortion in one resampling, then stroke
    thickness and ink intensity. Thickness and intensity matter: two views that share them let
    mutual information cluster on the pen instead of the letter. The colours of an image move and
    thicken together; its intensity changes a little more in one than in the others, as under
    another light. ``kinds`` leaves some of `VIEWS` out, or takes others in:

    "crop", a window of 30 to 100 % of the image's area, fitted into all of it; "mirror", left and
    right exchanged in half of the views; "turn", by any angle; "light", contrast and brightness
    and, of colours, their strength and tint.
    """
    colours, height, width = x.shape[1:]
    image_shape = (height, width, 3) if colours == 3 else (height, width)
    drawn = draw_view(len(x), image_shape, generator, kinds)
    return _altered(x, {name: value.to(x.device) for name, value in drawn.items()}, kinds)


def _altered(x, drawn, kinds):
    """`random_view` with the numbers of `draw_view`, which are on the images' device."""
    angle, shear = 0.25 * drawn["angle"], 0.30 * drawn["shear"]
    scale_x, scale_y = 1 + 0.20 * drawn["scale_x"], 1 + 0.20 * drawn["scale_y"]
    shift = 0.14 * drawn["shift"]  # of half the image: about 2 pixels of 28
    cos, sin = angle.cos(), angle.sin()
    if "affine" not in kinds:
        cos, sin, shear, shift = torch.ones_like(cos), sin * 0, shear * 0, shift * 0
        scale_x = scale_y = torch.ones_like(cos)
    if "turn" in kinds:
        cos, sin = (math.pi * drawn["turn"]).cos(), (math.pi * drawn["turn"]).sin()
    if "crop" in kinds:
        side = (0.65 + 0.35 * drawn["zoom"]).sqrt()  # of the window, as a share of the image's
        shift = shift + (1 - side)[:, None] * drawn["window"]
        scale_x, scale_y = scale_x * side, scale_y * side
    if "mirror" in kinds:
        scale_x = torch.where(drawn["mirror"] > 0, scale_x, -scale_x)
    matrix = torch.stack(
        [
            torch.stack([scale_x * cos, scale_x * (shear * cos - sin), shift[:, 0]], 1),
            torch.stack([scale_y * sin, scale_y * (shear * sin + cos), shift[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    if "elastic" in kinds:
        coarse = 0.08 * drawn["elastic"]
        elastic = F.interpolate(coarse, x.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + elastic.permute(0, 2, 3, 1)
    # what moves in from outside: background, which is 0 in handwriting; otherwise the border's, and
    # texture goes on
    padding = "border" if x.shape[1] == 3 or "crop" in kinds else "zeros"
    padding = "reflection" if "turn" in kinds else padding
    x = F.grid_sample(x, grid, padding_mode=padding, align_corners=False)

    # thicker: blend towards the 3x3 maximum; thinner: towards the 3x3 minimum, never all the way,
    # which would erase a thin stroke
    if "thickness" in kinds:
        thickness = drawn["thickness"]
        thick, thin = F.max_pool2d(x, 3, 1, 1), -F.max_pool2d(-x, 3, 1, 1)
        x = torch.lerp(x, torch.where(thickness > 0, thick, thin), thickness.abs().clamp(max=0.7))

    if "light" in kinds:
        x = _relit(x, drawn)
    intensity = 1 + 0.4 * drawn["intensity"]
    if x.shape[1] == 3:
        intensity = intensity * (1 + 0.1 * drawn["tint"])
    return (x * intensity if "intensity" in kinds else x).clamp(0, 1)


def _relit(x, drawn):
    """Images in another light: contrast, brightness, strength and tint of the colours."""
    if x.shape[1] == 3:
        grey = x.mean(1, keepdim=True)
        x = torch.lerp(grey, x, 1 + 0.8 * drawn["grey"]) * (1 + 0.15 * drawn["tint"])
    mean = x.mean((1, 2, 3), keepdim=True)
    return (mean + (x - mean) * (1 + 0.4 * drawn["contrast"]) + 0.2 * drawn["brightness"]).clamp(
        0, 1
    )
