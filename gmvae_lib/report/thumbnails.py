"""Pictures as the pages show them: the originals, made small, inside the HTML."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gmvae_lib.data.images import load_images
from gmvae_lib.data.pictures import original
from gmvae_lib.errors import InputError

PNG_UP_TO, GREY_PNG_UP_TO = 40, 64  # pixels a side
LEAST_SIDE = 48
TRIED = 32  # pictures by which the size of all is estimated


def data_uri(image) -> str:
    """A picture, uint8 [H, W] or [H, W, 3], as the address of a PNG that holds all of it."""
    from PIL import Image

    return _uri(Image.fromarray(np.asarray(image)), "PNG", optimize=True)


def small_uri(picture) -> str:
    """A Pillow picture as the address of a PNG, which is exact, if it is small, else of a JPEG."""
    values = np.asarray(picture)
    if values.ndim == 3 and (values == values[..., :1]).all():
        picture = picture.convert("L")
    if max(picture.size) <= (GREY_PNG_UP_TO if picture.mode == "L" else PNG_UP_TO):
        return _uri(picture, "PNG", optimize=True)
    return _uri(picture, "JPEG", quality=80)


class Originals:
    """The pictures that images were read from, as a person should see them.

    A picture of a folder is read again from its file, and a row of an array that was made smaller
    from the array; what is no longer there is shown as the model sees it.
    """

    def __init__(self, images):
        self.images = images
        self.reading = images.provenance.get("reading") or {}
        self.stored = _stored(images, self.reading)

    def small(self, row, side):
        """The Pillow picture of a row, at most ``side`` pixels a side."""
        from PIL import Image

        picture = None
        if self.images.paths is not None:
            path = Path(self.images.provenance["source"]) / self.images.paths[row]
            try:
                picture = original(path.read_bytes(), self.reading, side)
            except (InputError, OSError):
                pass
        if picture is None:
            picture = Image.fromarray(seen(self.stored, [row])[0])
        picture.thumbnail((side, side))
        return picture

    def uris(self, rows, side, budget) -> list[str]:
        """Some rows as addresses, at most ``side`` pixels a side.

        The side shrinks, the same for all, where they would be more than about ``budget`` bytes.
        """
        rows = list(rows)
        some = rows[:: -(-len(rows) // TRIED)] if rows else []
        with ThreadPoolExecutor(4) as pool:  # Pillow lets other threads run while it decodes

            def all_of(rows, side):
                return list(pool.map(lambda row: small_uri(self.small(row, side)), rows))

            size = sum(map(len, all_of(some, side))) / max(1, len(some)) * len(rows)
            if size > budget:
                side = max(LEAST_SIDE, int(side * np.sqrt(budget / size)))
            return all_of(rows, side)


def _stored(images, reading):
    """The images of a file before they were resized or made grey, if that can be had."""
    source = Path(str(images.provenance.get("source")))
    if images.paths is not None or not reading.get("converted") or not source.is_file():
        return images
    try:
        stored = load_images(
            source, transpose=bool(reading.get("transposed")), colour=True, inverted=False
        )
    except InputError:
        return images
    return stored if stored.set_digest == images.set_digest else images


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
