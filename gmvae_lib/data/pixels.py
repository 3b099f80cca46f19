"""From stored values to 8-bit pixels: layout, scale, transparency, borders."""

from typing import Any

import numpy as np

from gmvae_lib.data.image_set import described
from gmvae_lib.errors import InputError

ROWS_AT_ONCE = 4096
BORDER_SAMPLE = 5000  # images whose borders are looked at, in even steps
DARK = 32  # a set whose brightest pixel is below this is almost black


def with_channels_last(images) -> np.ndarray:
    """[N, H, W] or [N, H, W, 3 or 4] of arrays that also hold [N, H, W, 1] or [N, C, H, W].

    Examples
    --------
    >>> with_channels_last(np.zeros((9, 3, 28, 28))).shape
    (9, 28, 28, 3)
    >>> with_channels_last(np.zeros((9, 1, 28, 28))).shape
    (9, 28, 28)
    """
    if images.ndim == 4 and images.shape[3] not in (1, 3, 4) and images.shape[1] in (1, 3, 4):
        images = np.moveaxis(images, 1, 3)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    return images


def eight_bits(images, source, scale="auto", ground="auto"):
    """Arrays of other types as uint8, and what was done to them.

    Parameters
    ----------
    images : [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels, first or last: bool, uint8, floats
        in [0, 1], or wider integers, whose values ``scale`` (low, high) become 0 and 255. "auto":
        the range of all images; also of uint8 that hold only 0 and 1. None: uint8 as stored.
    source : of an error's line.
    ground : "white", "black" or "auto", behind transparent pixels; see `better_ground`.

    Returns
    -------
    images : uint8 [N, H, W] or [N, H, W, 3]
    reading : dict with `scale` and `transparency`
    notes : list of str
    """
    stored, images = images, with_channels_last(images)
    reading: dict[str, Any] = {"scale": None, "transparency": None}
    notes = []
    layout = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (3, 4))
    if not layout or 0 in images.shape or images.dtype.kind not in "buif":
        expected = "numbers [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels, not empty"
        raise InputError(f"{source}: images are {described(stored)}; expected {expected}")
    if images.dtype == bool:
        images = images.astype(np.uint8) * np.uint8(255)
    elif images.dtype.kind == "f":
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 1):  # written so that NaN fails
            found = f"floats from {low:g} to {high:g}"
            raise InputError(f"{source}: images are {found}; expected values within [0, 1]")
        images = np.rint(images.astype(np.float32) * 255).astype(np.uint8)
    elif images.dtype != np.uint8 or is_mask(images, scale):
        low, high = (int(images.min()), int(images.max())) if scale in ("auto", None) else scale
        if scale in ("auto", None):
            notes.append(scale_note(low, high, len(images)))
        images, reading["scale"] = scaled(images, low, high), [low, high]
    if images.ndim == 4 and images.shape[3] == 4:
        alpha = images[..., 3:].astype(np.uint16)
        clear = (alpha < 255).any((1, 2, 3))
        colours = np.rint(images[..., :3] * (alpha / np.float32(255))).astype(np.uint8)
        if ground == "auto":
            ink = colours.mean((1, 2, 3)) / np.maximum(alpha.mean((1, 2, 3)), 1e-9)
            ground = better_ground(ink[clear & (alpha.max((1, 2, 3)) > 0)])
        images, reading["transparency"] = on_ground(colours, alpha, ground), ground
    return np.ascontiguousarray(images), reading, notes


def is_mask(images, scale) -> bool:
    """Whether uint8 images hold only 0 and 1, which would be black to the eye."""
    return (scale == "auto" or tuple(scale or ()) == (0, 1)) and images.max(initial=0) == 1


def scaled(values, low, high) -> np.ndarray:
    """Values from low to high as uint8, 0 to 255, those beyond cut off.

    Examples
    --------
    >>> scaled(np.array([100, 2100, 4100], np.uint16), 100, 4100)
    array([  0, 128, 255], dtype=uint8)
    """
    out = np.empty(values.shape, np.uint8)
    unit = 255 / max(high - low, 1)
    for start in range(0, len(values), ROWS_AT_ONCE):
        part = (values[start : start + ROWS_AT_ONCE] - np.float64(low)) * unit
        out[start : start + ROWS_AT_ONCE] = np.rint(part.clip(0, 255))
    return out


def scale_note(low, high, n) -> str:
    what = "masks of 0 and 1" if (low, high) == (0, 1) else f"values {low:g} to {high:g}"
    return f"{n} images hold {what}, the range of the whole set, which becomes black to white"


def on_ground(colours, alpha, ground) -> np.ndarray:
    """Colours, already multiplied by their opacity, over "white" or "black": uint8."""
    return colours if ground == "black" else colours + (255 - alpha).astype(np.uint8)


def better_ground(ink) -> str:
    """ "white", or "black" if the ink of most transparent images (0 to 255) would be lost on it."""
    return "black" if len(ink) and (np.asarray(ink) > 0.5).mean() > 0.5 else "white"


def border_of(image) -> np.ndarray:
    """The median of an image's border, of each channel: float [] or [3]."""
    edges = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    edges.sort(axis=0)
    return (edges[(len(edges) - 1) // 2] + edges[len(edges) // 2].astype(float)) / 2


def bright_borders(images) -> float:
    """Share of images whose median border is brighter than mid-grey."""
    some = images[:: -(-len(images) // BORDER_SAMPLE)]
    edges = [some[:, 0], some[:, -1], some[:, 1:-1, 0], some[:, 1:-1, -1]]
    border = np.median(np.concatenate(edges, axis=1), axis=1)
    return float((border.reshape(len(some), -1).mean(axis=1) > 127).mean())
