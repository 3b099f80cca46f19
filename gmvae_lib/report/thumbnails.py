"""Pictures as the pages show them: the originals, made small, inside the HTML."""

import base64
import io
from pathlib import Path

import numpy as np

from gmvae_lib.data import pictures
from gmvae_lib.errors import InputError

CRISP_UP_TO = 40  # pixels a side: smaller pictures are enlarged in squares, larger ones smoothly
PNG_UP_TO = 64  # pixels a side, of grey pictures: exact, and lighter than a JPEG
LEAST_SIDE = 48


def data_uri(image) -> str:
    """A picture, uint8 [H, W] or [H, W, 3], as the address of a PNG that holds all of it."""
    from PIL import Image

    return _uri(Image.fromarray(np.asarray(image)), "PNG", optimize=True)


def small_uri(picture, side=None) -> str:
    """A Pillow picture or uint8 array, at most ``side`` pixels a side, as the address of an image.

    Small ones are PNGs, which are exact; others JPEGs, which are light.
    """
    from PIL import Image

    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture.copy()
    if side is not None:
        picture.thumbnail((side, side))
    if max(picture.size) <= (PNG_UP_TO if picture.mode == "L" else CRISP_UP_TO):
        return _uri(picture, "PNG", optimize=True)
    return _uri(picture, "JPEG", quality=80)


def small_uris(images, rows, side, budget) -> list[str]:
    """The originals of some rows as addresses, at most ``side`` pixels a side.

    The side shrinks, the same for all, where they would be more than about ``budget`` bytes.
    """
    rows = list(rows)
    some = rows[:: -(-len(rows) // 32)] if rows else []
    size = sum(len(small_uri(original(images, row), side)) for row in some) / max(1, len(some))
    if size * len(rows) > budget:
        side = max(LEAST_SIDE, int(side * np.sqrt(budget / (size * len(rows)))))
    return [small_uri(original(images, row), side) for row in rows]


def original(images, row):
    """The Pillow picture of a row: the file it was read from, if it is there, or the row itself."""
    from PIL import Image

    if images.paths is not None:
        path = Path(images.provenance["source"]) / images.paths[row]
        try:
            return pictures.original(path.read_bytes(), images.provenance.get("reading"))
        except (InputError, OSError):  # moved or lost since it was read
            pass
    return Image.fromarray(seen(images, [row])[0])


def seen(images, rows) -> np.ndarray:
    """The images of some rows as the model reads them, uint8 [n, H, W] or [n, H, W, 3]."""
    some = images.images[np.asarray(rows, dtype=np.int64)]
    if some.ndim not in (3, 4):
        raise InputError(
            f"{images.provenance['source']}: found rows of {some.shape[1]} numbers, expected "
            "images: numbers cannot be shown on a page"
        )
    if some.dtype == np.uint8:
        return some
    low, high = float(some.min(initial=0)), float(some.max(initial=1))
    return np.rint((some - low) * (255 / (high - low))).astype(np.uint8)


def _uri(picture, kind, **options) -> str:
    packed = io.BytesIO()
    picture.save(packed, kind, **options)
    content = base64.b64encode(packed.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{content}"
