"""Reader of folders of pictures."""

import math
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import numpy as np

from gmvae_lib.data.identity import DIGITS, digest_of
from gmvae_lib.data.image_set import ImageSet, encoded_labels
from gmvae_lib.data.storage import machine_memory
from gmvae_lib.errors import InputError, one_line

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
PICTURE_SIZE = 28
LARGEST_SIZE = 4096
BORDER_SAMPLE = 5000  # images whose borders are looked at, in even steps


def load_folder(folder, size, colour, inverted) -> ImageSet:
    """Read every picture under a folder, in the order of the sorted relative paths."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names = sorted(
        path.as_posix()
        for path in found
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith(".") for part in path.parts)
    )
    if not names:
        raise InputError(f"{folder}: holds no picture; expected {', '.join(PICTURE_SUFFIXES)}")
    classes = [name.split("/")[0] if "/" in name else "" for name in names]
    height, width = size or (PICTURE_SIZE, PICTURE_SIZE)
    digests = np.empty(len(names), f"<U{DIGITS}")

    def picture(i):
        data = (folder / names[i]).read_bytes()
        digests[i] = digest_of(data)
        return _open_picture(folder / names[i], data, colour)

    images, borders = _fit_all(
        picture,
        range(len(names)),
        (height, width, 3) if colour else (height, width),
        "reading pictures",
    )
    bright_borders = int(np.count_nonzero(borders > 127))
    square = height == width
    into = f"longer side to {height} px" if square else f"fitted into {height} x {width} px"
    tone = "colour" if colour else "grey"
    provenance = {
        "name": folder.absolute().name,
        "source": str(folder),
        "resized": f"{tone}; transparency as white; {into}, aspect kept, antialiased (bilinear); "
        f"centred on a {'square' if square else 'frame'} of the median border {tone}",
    }
    if inverted == "auto":
        # One decision for the whole folder: a letter that fills its picture must not be inverted
        # alone. Colours have no ink to be told from the paper.
        inverted = not colour and bright_borders * 2 > len(names)
        rule = "colours are never inverted" if colour else "inverted if in most"
    else:
        rule = f"{'inverted' if inverted else 'not inverted'} as asked"
    provenance |= {
        "inverted": inverted,
        "polarity": f"border median above 127 in {bright_borders} of {len(names)} pictures; {rule}",
    }
    if inverted:
        np.subtract(255, images, out=images)
    labels, class_names = encoded_labels(classes)
    if "" in class_names:  # of pictures that lie beside the sub-folders
        labels, class_names = labels - 1, class_names[1:]
    extra = {"path": np.array(names), "digest": digests}
    return ImageSet(images, labels if class_names else None, class_names, provenance, extra)


def _open_picture(path, data, colour):
    """The Pillow picture in a file's bytes, upright, in mode "L" or "RGB"."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(BytesIO(data)) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _as_mode(ImageOps.exif_transpose(opened), "RGB" if colour else "L")
    # Over broken bytes, Pillow's many readers raise whatever they run into.
    except Exception as error:
        reason = one_line(error)
        raise InputError(f"{path}: not readable ({reason}); expected a complete picture") from error


def _as_mode(picture, mode):
    """Convert a Pillow picture to mode "L" (8-bit grey) or "RGB", transparency as white."""
    from PIL import Image

    if picture.mode.startswith("I;16"):  # convert("L") would clip 16 bits, not scale them
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert(mode)
    if picture.mode in ("I", "F"):
        raise ValueError(f"32-bit grey values, mode {picture.mode}")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert(mode)
    return picture.convert(mode)


def converted_pictures(images, size, colour) -> tuple[ImageSet, str | None]:
    """An image set of the size and colour asked for, and what was done to it, if anything was."""
    from PIL import Image

    stored = images.images.shape[1:]
    height, width = size or stored[:2]
    shape = (height, width, 3) if colour else (height, width)
    if stored == shape:
        return images, None
    done = [f"images of {stored[0]}x{stored[1]}"]
    if stored[:2] != shape[:2]:
        done.append(f"fitted into {height}x{width}")
    if len(stored) != len(shape):
        done.append("grey in all three colours" if colour else "read in grey")
    fitted, _ = _fit_all(
        lambda image: Image.fromarray(image).convert("RGB" if colour else "L"),
        images.images,
        shape,
        "resizing images",
    )
    return replace(images, images=fitted), ", ".join(done)


def _fit_all(picture_of, items, shape, title) -> tuple[np.ndarray, np.ndarray]:
    """Fit the Pillow picture of every item into a shape.

    Returns
    -------
    (images, borders) : uint8 [N, *shape], and float [N], the median border of each, 0 to 255.
    """
    from tqdm import tqdm

    _check_memory(len(items), shape)
    images = np.empty((len(items), *shape), np.uint8)

    def fit(i):
        images[i], border = _fitted(picture_of(items[i]), shape)
        return border

    # Pillow lets other threads run while it decodes and resizes.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        borders = pool.map(fit, range(len(items)))
        borders = list(tqdm(borders, total=len(items), desc=title, delay=2, disable=None))
    return images, np.array(borders)


def _fitted(picture, shape) -> tuple[np.ndarray, float]:
    """Return a Pillow picture as uint8 of the shape, and the median brightness of its border."""
    from PIL import Image

    height, width = shape[:2]
    scale = min(width / picture.width, height / picture.height)
    small = [max(1, round(side * scale)) for side in picture.size]
    # Pillow's bilinear filter widens with the reduction, so it does not alias.
    inner = np.asarray(picture.resize(small, Image.Resampling.BILINEAR))
    edges = [inner[0], inner[-1], inner[1:-1, 0], inner[1:-1, -1]]
    border = np.median(np.concatenate(edges), axis=0)  # of each channel
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    frame = np.full(shape, np.rint(border), np.uint8)
    frame[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return frame, float(border.mean())


def bright_borders(images) -> float:
    """Share of images whose median border is brighter than mid-grey."""
    some = images[:: -(-len(images) // BORDER_SAMPLE)]
    edges = [some[:, 0], some[:, -1], some[:, 1:-1, 0], some[:, 1:-1, -1]]
    border = np.median(np.concatenate(edges, axis=1), axis=1)
    return float((border.reshape(len(some), -1).mean(axis=1) > 127).mean())


def checked_size(size) -> tuple[int, int] | None:
    """(height, width) of an int or a pair; None for None."""
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    whole = all(isinstance(s, int | np.integer) and not isinstance(s, bool) for s in sides)
    if len(sides) != 2 or not whole or not all(1 <= s <= LARGEST_SIZE for s in sides):
        expected = f"1 to {LARGEST_SIZE} pixels, or (height, width)"
        raise InputError(f"size: found {size!r}; expected {expected}")
    return int(sides[0]), int(sides[1])


def _check_memory(n, shape) -> None:
    """Refuse images that the machine's memory cannot hold, before the system ends the process."""
    needed = n * math.prod(shape)
    memory = machine_memory()
    if needed > memory:
        found = f"{n} images of {'x'.join(map(str, shape))}, {needed / 1e9:.0f} GB"
        raise InputError(f"size: found {found}; expected at most {memory / 1e9:.0f} GB of memory")
