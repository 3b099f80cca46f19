"""Letters drawn from the fonts that matplotlib ships, distorted to look written by hand."""

import string
from functools import cache
from pathlib import Path

import numpy as np

from gmvae_lib.errors import InputError, needs_extra

# Font files that matplotlib ships and that hold all Latin letters.
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmss10", "cmti10", "cmtt10", "cmmi10"),
)
# Unicode's mathematical script letters (A..Z, then a..z), the nearest to handwriting among them.
SCRIPT_FONT, SCRIPT_A = "STIXGeneral", 0x1D4D0

GLYPH_BOX = 64  # px of the longer side of a glyph in the bank
GLYPH_GRID = 104  # px of the bank's squares, which leaves room to thicken a stroke
LETTER_BOX = 20  # px of the longer side of a letter in a 28-px image


def draw_letters(n, seed=0, size=28) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw letters a..z in both cases, bright on black and centred, as in EMNIST.

    Each image takes a random font and case, then a random stroke width, rotation, shear, scale,
    smooth distortion, shift, edge softness and intensity. Classes are balanced to within one image,
    the order is shuffled.

    Parameters
    ----------
    n : int
        Number of images.
    seed : int or numpy.random.Generator
    size : int
        Side of an image in pixels, 8 or more.

    Returns
    -------
    images : uint8 [n, size, size]
    labels : int [n], 0..25
    upper : bool [n]
        Whether the letter is a capital.
    """
    if n < 1 or size < 8:
        raise InputError(f"letters: n={n}, size={size}; expected n at least 1, size at least 8")
    rng = np.random.default_rng(seed)
    bank, half_width = _glyph_bank()
    labels = rng.permutation(np.arange(n) % 26)
    upper = rng.random(n) < 0.5
    font = rng.integers(len(bank), size=n)
    glyph = labels + np.where(upper, 0, 26)

    # Lengths are in pixels of a 28-px image; a stroke is thinned by 40 % at most, lest it break.
    scale = rng.uniform(0.9, 1.15, n) * LETTER_BOX / GLYPH_BOX
    drawn = half_width[font, glyph] * scale
    offset = np.maximum(rng.uniform(1.0, 2.0, n) - drawn, -0.4 * drawn)
    softness = rng.uniform(1.2, 2.2, n)
    intensity = rng.uniform(0.8, 1.0, n)
    to_glyph = _random_affine(rng, n) / scale[:, None, None]
    shift = rng.normal(0, 0.6, (n, 2))
    waves = rng.normal(0, 0.5, (n, 2, 3, 3))
    waves[:, :, 0, 0] = 0  # the constant one, which is the shift

    # Pixel centres in units of a 28-px image, measured from the middle; axis order (row, column).
    axis = ((np.arange(size) + 0.5) / size - 0.5) * 28
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"))
    # Smooth distortion: cosine waves of up to one period over the image.
    cosines = np.cos(np.pi * np.arange(3)[:, None] * (np.arange(size) + 0.5) / size)
    images = np.empty((n, size, size), np.uint8)
    for start in range(0, n, 1024):  # bounds the memory; everything random is drawn above
        part = slice(start, start + 1024)
        distortion = np.einsum("naij,iy,jx->nayx", waves[part], cosines, cosines, optimize=True)
        at = grid + shift[part, :, None, None] + distortion
        at = np.einsum("nab,nbyx->nayx", to_glyph[part], at) + (GLYPH_GRID - 1) / 2
        distance = _interpolate(bank, font[part], glyph[part], at) * scale[part, None, None]
        ink = (distance + offset[part, None, None]) / softness[part, None, None] + 0.5
        images[part] = np.rint(255 * intensity[part, None, None] * np.clip(ink, 0, 1))
    return images, labels, upper


def _random_affine(rng, n) -> np.ndarray:
    """Draw rotation (sd 6 degrees), shear (sd 0.15) and aspect (sd 10 %) as matrices [n, 2, 2]."""
    angle = np.deg2rad(rng.normal(0, 6, n))
    shear = rng.normal(0, 0.15, n)
    aspect = np.exp(rng.normal(0, 0.1, n))
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(n), np.ones(n)
    rotate = np.array([[cos, -sin], [sin, cos]])
    slant = np.array([[one, zero], [shear, one]])
    stretch = np.array([[np.sqrt(aspect), zero], [zero, 1 / np.sqrt(aspect)]])
    return np.einsum("abn,bcn,cdn->nad", rotate, slant, stretch)


@cache  # seconds to draw, 50 MB to keep
def _glyph_bank() -> tuple[np.ndarray, np.ndarray]:
    """Draw every letter of every font once.

    Returns
    -------
    distance : float32 [F, 52, G, G]
        Distance to the outline in pixels, positive inside the ink: adding a constant thickens or
        thins the stroke. Letters in the order A..Z, a..z.
    half_width : float [F, 52]
        Half the stroke's typical width in pixels: twice the mean distance inside it, which is
        exact for an even stroke.
    """
    with needs_extra("rendered-letters, drawn from its fonts", "study"):
        import matplotlib
    from PIL import ImageFont
    from scipy.ndimage import distance_transform_edt

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    latin = string.ascii_uppercase + string.ascii_lowercase
    script = "".join(chr(SCRIPT_A + i) for i in range(52))
    faces = [*((name, latin) for name in FONTS), (SCRIPT_FONT, script)]
    distance = np.empty((len(faces), 52, GLYPH_GRID, GLYPH_GRID), np.float32)
    for f, (name, letters) in enumerate(faces):
        layout = ImageFont.Layout.BASIC  # there with every Pillow, so that all draw the same
        font = ImageFont.truetype(str(folder / f"{name}.ttf"), GLYPH_BOX, layout_engine=layout)
        for g, letter in enumerate(letters):
            ink = _draw_glyph(letter, font)
            distance[f, g] = distance_transform_edt(ink) - distance_transform_edt(~ink)
    inside = np.maximum(distance, 0)
    return distance, 2 * inside.sum((2, 3)) / (inside > 0).sum((2, 3))


def _draw_glyph(letter, font) -> np.ndarray:
    """Draw a letter centred, its longer side GLYPH_BOX, as bool [G, G]."""
    from PIL import Image, ImageDraw

    page = Image.new("L", (3 * GLYPH_BOX, 3 * GLYPH_BOX))
    ImageDraw.Draw(page).text((GLYPH_BOX, GLYPH_BOX // 2), letter, font=font, fill=255)
    glyph = page.crop(page.getbbox())
    zoom = GLYPH_BOX / max(glyph.size)
    width, height = (max(1, round(side * zoom)) for side in glyph.size)
    square = Image.new("L", (GLYPH_GRID, GLYPH_GRID))
    corner = ((GLYPH_GRID - width) // 2, (GLYPH_GRID - height) // 2)
    square.paste(glyph.resize((width, height)), corner)
    return np.asarray(square) > 127


def _interpolate(bank, font, glyph, at) -> np.ndarray:
    """Read the bank bilinearly at positions `at` [n, 2, H, W] (row, column), held at the edge."""
    at = np.clip(at, 0, GLYPH_GRID - 1.001)
    corner = at.astype(np.intp)
    (down, right), (row, column) = np.moveaxis(at - corner, 1, 0), np.moveaxis(corner, 1, 0)
    flat = bank.reshape(-1)
    first = ((font * 52 + glyph)[:, None, None] * GLYPH_GRID + row) * GLYPH_GRID + column
    above = flat[first] * (1 - right) + flat[first + 1] * right
    below = flat[first + GLYPH_GRID] * (1 - right) + flat[first + GLYPH_GRID + 1] * right
    return above * (1 - down) + below * down
