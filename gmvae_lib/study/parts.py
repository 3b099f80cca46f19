"""Synthetic colour pictures of machine parts: a data set in which colour matters."""

import numpy as np

from gmvae_lib.errors import InputError

SHAPES = ("washer", "nut", "bracket", "screw")
# sRGB in 0..255; brass and copper differ in hue, hardly in brightness
METALS = {"steel": (168, 172, 180), "brass": (196, 164, 76), "copper": (200, 140, 106)}
PART_NAMES = tuple(f"{metal} {shape}" for shape in SHAPES for metal in METALS)


def draw_parts(n, seed=0, size=28) -> tuple[np.ndarray, np.ndarray]:
    """Draw parts of four shapes in three metals on a dark belt, photographed from above.

    Each picture has a random size, rotation (sd 10 degrees), position, metal tone, direction of
    light, and noise. Classes, shape times metal, are balanced to within one picture, in random
    order.

    Parameters
    ----------
    n : int
        Number of pictures.
    seed : int or numpy.random.Generator
    size : int
        Side of a picture in pixels, 8 or more.

    Returns
    -------
    images : uint8 [n, size, size, 3]
    labels : int [n], positions in `PART_NAMES`
    """
    if n < 1 or size < 8:
        raise InputError(f"parts: n={n}, size={size}; expected n at least 1, size at least 8")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % len(PART_NAMES))
    shape, metal = np.divmod(labels, len(METALS))

    # lengths in half pictures: positions run from -1 to 1
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    angle = np.deg2rad(rng.normal(0, 10, n))
    scale = rng.uniform(0.85, 1.15, n)
    shift = rng.normal(0, 0.06, (n, 2, 1, 1))
    tone = np.array(list(METALS.values()))[metal] * rng.uniform(0.85, 1.15, (n, 1))
    tone += rng.normal(0, 5, (n, 3))
    belt = rng.uniform(25, 60, (n, 1)) + rng.normal(0, 3, (n, 3))
    light = rng.normal(0, 0.1, (n, 2, 1, 1))
    noise = rng.normal(0, 6, (n, size, size, 3))

    x, y = x - shift[:, 0], y - shift[:, 1]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    at = np.stack([cos * x + sin * y, cos * y - sin * x]) / scale[:, None, None]
    distance = np.empty((n, size, size))
    for i, outline in enumerate((_washer, _nut, _bracket, _screw)):
        distance[shape == i] = outline(*at[:, shape == i])
    # an edge one pixel wide, as a camera blurs it
    cover = np.clip(0.5 - distance * scale[:, None, None] * size / 2, 0, 1)[..., None]
    picture = cover * tone[:, None, None] + (1 - cover) * belt[:, None, None]
    picture *= (1 + light[:, 0] * x + light[:, 1] * y)[..., None]
    return np.rint(np.clip(picture + noise, 0, 255)).astype(np.uint8), labels


# Distance to the outline in half pictures, negative inside (Quilez, "2D distance functions").


def _washer(x, y):
    r = np.hypot(x, y)
    return np.maximum(r - 0.65, 0.32 - r)


def _nut(x, y):
    around = np.abs(np.stack([x, (x + np.sqrt(3) * y) / 2, (x - np.sqrt(3) * y) / 2])).max(0)
    return np.maximum(around - 0.6, 0.3 - np.hypot(x, y))


def _bracket(x, y):
    return np.minimum(_box(x + 0.4, y, 0.17, 0.65), _box(x, y - 0.48, 0.57, 0.17))


def _screw(x, y):
    return np.minimum(_box(x, y + 0.5, 0.42, 0.18), _box(x, y - 0.12, 0.16, 0.6))


def _box(x, y, half_width, half_height):
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)
