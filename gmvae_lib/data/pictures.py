"""Reader of folders of pictures: each decoded and fitted in threads, then the set as a whole."""

import math
import os
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np

from gmvae_lib.data import pixels
from gmvae_lib.data.folders import classes_of, counted
from gmvae_lib.data.identity import DIGITS, digest_of
from gmvae_lib.data.image_set import ImageSet, described, encoded_labels
from gmvae_lib.data.storage import machine_memory
from gmvae_lib.errors import InputError, one_line

PICTURE_SIZE = 28
LARGEST_SIZE = 4096
LARGEST_PICTURE = 2**27  # pixels; more than any camera's, a file that claims them may be a bomb
REDUCED = 2  # a picture is said to be reduced if it is more than so many times larger
COLOURED = 40  # levels between the channels of a pixel, more than compression makes of grey
AT_ONCE = 64  # pictures of one task of a thread
# The formats of folders.PICTURE_SUFFIXES, as Pillow names them.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000")


@dataclass(frozen=True)
class Rule:
    """How images are to be read; the arguments of `images.load_images` of these names."""

    size: tuple[int, int] | None = None
    colour: bool = False
    inverted: str | bool = "auto"
    scale: str | tuple | None = "auto"
    ground: str = "auto"
    bright_borders: float | None = None
    skip_damaged: bool = False


@dataclass
class _Batch:
    """What is known of pictures while they are read, by their positions."""

    images: np.ndarray
    borders: np.ndarray
    digests: np.ndarray
    sides: np.ndarray  # the longer side of each file
    plain: int = 0  # pictures of 8 bits that are neither a mask nor transparent
    wide: dict = field(default_factory=dict)  # (fitted, lowest, highest) of more than 8 bits
    masks: dict = field(default_factory=dict)  # fitted, of pictures of 0 and 1, or of 0 alone
    clear: dict = field(default_factory=dict)  # (colours times opacity, opacity), fitted
    damaged: dict = field(default_factory=dict)  # the reason
    counts: Counter = field(default_factory=Counter)


def load_folder(folder, found, rule) -> ImageSet:
    """Read the pictures, or the arrays of one picture each, that `folders.find_files` found."""
    names = found.pictures or found.arrays
    height, width = rule.size or (PICTURE_SIZE, PICTURE_SIZE)
    shape = (height, width, 3) if rule.colour else (height, width)
    open_one = _opened if found.pictures else _array_as_picture
    batch = _read_all(folder, names, open_one, shape)
    kept = _without_damaged(folder, names, batch, rule.skip_damaged)
    reading, notes = _finish(batch, rule, shape)
    images = batch.images[kept] if batch.damaged else batch.images
    borders, n = batch.borders[kept], len(kept)
    names = [names[i] for i in kept]

    bright = int(np.count_nonzero(borders > 127))
    inverted = rule.inverted
    if inverted == "auto":
        # One decision for the whole folder: a letter that fills its picture must not be inverted
        # alone. Colours have no ink to be told from the paper.
        expected_bright = (rule.bright_borders or 0) > 0.5
        inverted = not rule.colour and (bright * 2 > n) != expected_bright
        decided = "colours are never inverted" if rule.colour else "inverted if in most"
        if inverted:
            like = " to be like those of the run" if expected_bright else ""
            notes.append(f"{bright} of {n} pictures have a bright border: all are inverted{like}")
    else:
        decided = f"{'inverted' if inverted else 'not inverted'} as asked"
    if inverted:
        np.subtract(255, images, out=images)
    notes += _notes(batch, kept, found, rule, reading)
    classes, parts = classes_of(names)
    classes = np.array(classes)
    labels, class_names = encoded_labels(classes, classes != "")  # "nan" may be a folder's name
    square = height == width
    into = f"longer side to {height} px" if square else f"fitted into {height} x {width} px"
    tone = "colour" if rule.colour else "grey"
    provenance = {
        "name": folder.absolute().name,
        "source": str(folder),
        "resized": f"{tone}; transparency as {reading['transparency'] or 'white'}; {into}, aspect "
        f"kept, antialiased (bilinear); centred on a {'square' if square else 'frame'} of the "
        f"median border {tone}",
        "inverted": inverted,
        "polarity": f"border median above 127 in {bright} of {n} pictures; {decided}",
        "reading": reading | {"kind": "pictures", "notes": notes},
    }
    if parts:
        provenance["parts"] = parts
        notes.append(f"the folders {', '.join(parts)} are parts of the set, not classes")
    extra = {"path": np.array(names), "digest": batch.digests[kept]}
    return ImageSet(images, labels if class_names else None, class_names, provenance, extra)


# ------------------------------------------------------------------- one picture


def original(data, reading=None, side=None):
    """The Pillow picture in a file's bytes as a person should see it: upright, opaque, RGB.

    reading : `provenance["reading"]` of the set that the picture is one of, for its scale and
        ground. side : pixels a side that will do, so that a large JPEG need not be decoded in full.
    """
    from PIL import Image

    try:
        Image.init()
        picture = (_array_as_picture if data[:6] == b"\x93NUMPY" else _opened)(data)
        if side is not None:
            picture.draft(None, (side, side))
        picture = _upright(picture)
        scale = (reading or {}).get("scale")
        values = np.asarray(picture)
        if picture.mode.startswith("I") or (scale == [0, 1] and values.max(initial=0) == 1):
            low, high = scale or (values.min(), values.max())
            picture = Image.fromarray(pixels.scaled(values, low, high))
        if picture.has_transparency_data:
            ground = (reading or {}).get("transparency") or "white"
            below = Image.new("RGBA", picture.size, ground)
            picture = Image.alpha_composite(below, picture.convert("RGBA"))
        return picture.convert("RGB")
    # Over broken bytes, Pillow's many readers raise whatever they run into.
    except Exception as error:
        raise InputError(f"picture: not readable ({one_line(error)}); expected one") from None


def _upright(picture):
    """The picture turned as its EXIF orientation says; 32-bit grey values are refused."""
    from PIL import ImageOps

    if picture.getexif().get(0x0112, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F":
        raise ValueError("32-bit grey values, mode F")
    return picture


def _opened(data):
    """The Pillow picture in the bytes of a file; none of its pixels are decoded yet.

    Pillow's own `open` would warn of large pictures, and a warning cannot be filtered in a thread
    without a change to the whole process.
    """
    from PIL import Image

    for name in FORMATS:
        if name in Image.OPEN:
            factory, accepts = Image.OPEN[name]
            try:
                if accepts is None or accepts(data[:16]) is True:
                    return _checked(factory(BytesIO(data), ""))
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise ValueError("cannot identify image file")


def _checked(picture):
    if picture.width * picture.height > LARGEST_PICTURE:
        found = f"{picture.width} x {picture.height} pixels"
        raise ValueError(f"{found}, more than the {LARGEST_PICTURE / 1e6:.0f} million allowed")
    return picture


def _array_as_picture(data):
    """The Pillow picture in the bytes of an .npy file of [H, W] or [H, W, C]."""
    from PIL import Image

    array = np.load(BytesIO(data), allow_pickle=False)
    array = pixels.with_channels_last(array[None])[0]
    if array.dtype.kind in "iu" and array.ndim == 2 and array.dtype != np.uint8:
        return Image.fromarray(array.astype(np.int32))
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"{described(array)}, not one picture")
    if array.dtype != np.uint8:
        array = pixels.eight_bits(array[None], "array")[0][0]
    return Image.fromarray(array)


def _fit(picture, shape) -> np.ndarray:
    """Reduce or enlarge a picture to fit into height and width, its aspect kept."""
    from PIL import Image

    height, width = shape[:2]
    scale = min(width / picture.width, height / picture.height)
    small = tuple(max(1, round(side * scale)) for side in picture.size)
    if picture.size != small:
        # Pillow's bilinear filter widens with the reduction, so it does not alias.
        picture = picture.resize(small, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _framed(inner, shape) -> tuple[np.ndarray, float]:
    """The image in the middle of a frame of its own border, and the brightness of that."""
    border = pixels.border_of(inner)
    if inner.shape == shape:
        return inner, border.mean()
    top, left = (shape[0] - inner.shape[0]) // 2, (shape[1] - inner.shape[1]) // 2
    frame = np.full(shape, np.rint(border), np.uint8)
    frame[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return frame, border.mean()


# ----------------------------------------------------------------- all pictures


def _read_all(folder, names, open_one, shape) -> _Batch:
    """Decode and fit every file; what depends on the whole set is left to `_finish`."""
    from PIL import Image

    Image.init()  # all formats, before the threads
    n, mode = len(names), "RGB" if len(shape) == 3 else "L"
    _check_memory(n, shape)
    batch = _Batch(
        np.empty((n, *shape), np.uint8), np.empty(n), np.empty(n, f"<U{DIGITS}"), np.zeros(n, int)
    )

    def read(i):
        with open(os.path.join(folder, names[i]), "rb") as file:
            data = file.read()
        batch.digests[i] = digest_of(data)
        opened = picture = open_one(data)
        batch.sides[i] = max(picture.size)
        facts = []
        if getattr(opened, "is_animated", False) and opened.format != "MPO":
            facts.append("frames")
        picture = _upright(picture)
        if picture.mode.startswith("I"):  # more than 8 bits, which convert("L") would cut off
            values = np.asarray(picture, dtype=np.float32)
            batch.wide[i] = _fit(Image.fromarray(values), shape), values.min(), values.max()
        elif mode == "L" and picture.mode == "L" and picture.getextrema()[1] <= 1:
            batch.masks[i] = _fit(Image.fromarray(np.asarray(picture, np.float32)), shape)
        elif picture.has_transparency_data:
            picture = picture.convert("RGBA")
            if picture.getextrema()[3][0] == 255:
                fitted(i, picture.convert(mode))
            else:
                inner = _fit(picture.convert("RGBa"), shape)
                colours = np.asarray(Image.fromarray(inner[..., :3].copy()).convert(mode))
                batch.clear[i] = colours, inner[..., 3]
        else:
            if mode == "L" and picture.mode not in ("L", "1", "LA"):
                picture = picture.convert("RGB")
                few = np.asarray(picture.resize((16, 16), Image.Resampling.NEAREST)).astype(int)
                facts += ["coloured"] if np.ptp(few, axis=2).max() > COLOURED else []
            fitted(i, picture.convert(mode))
        return facts

    def fitted(i, picture):
        batch.images[i], batch.borders[i] = _framed(_fit(picture, shape), shape)

    def read_some(rows):
        facts = []
        for i in rows:
            try:
                facts += read(i)
            except MemoryError:
                raise
            # Over broken bytes, Pillow's many readers raise whatever they run into.
            except Exception as error:
                batch.damaged[i] = one_line(error)
        return facts

    # Pillow lets other threads run while it decodes and resizes.
    _in_threads(read_some, n, "reading pictures", batch.counts)
    batch.plain = n - len(batch.wide) - len(batch.masks) - len(batch.clear) - len(batch.damaged)
    return batch


def _in_threads(work, n, title, counts) -> None:
    """Call work(range) for all of range(n), with a progress bar; count what it returns."""
    from tqdm import tqdm

    tasks = [range(start, min(start + AT_ONCE, n)) for start in range(0, n, AT_ONCE)]
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(total=n, desc=title, delay=2, disable=None) as bar,
    ):
        try:
            for task, facts in zip(tasks, pool.map(work, tasks), strict=True):
                counts.update(facts)
                bar.update(len(task))
        except BaseException:  # ctrl-C, too: what has not begun need not be waited for
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _without_damaged(folder, names, batch, skip) -> np.ndarray:
    """The positions of the pictures that could be read, if they are all or may be."""
    damaged = sorted(batch.damaged)
    if damaged and (not skip or len(damaged) == len(names)):
        first, more = damaged[0], len(damaged) - 1
        also = f"; {more} more of {len(names)} are damaged" if more else ""
        leave = "" if skip else "; --skip-damaged (skip_damaged=True) leaves them out"
        raise InputError(
            f"{os.path.join(folder, names[first])}: not readable ({batch.damaged[first]}); "
            f"expected a complete picture{also}{leave}"
        )
    return np.delete(np.arange(len(names)), damaged)


def _finish(batch, rule, shape) -> tuple[dict, list[str]]:
    """Scale what has more than 8 bits, masks and transparency, by a rule or by the whole set."""
    reading: dict[str, Any] = {"scale": None, "transparency": None}
    notes = []
    inner, scale = {}, rule.scale
    known = scale not in ("auto", None)
    if batch.wide:
        lows, highs = zip(*(wide[1:] for wide in batch.wide.values()), strict=True)
        low, high = scale if known else (float(min(lows)), float(max(highs)))
        inner = {i: pixels.scaled(wide[0], low, high) for i, wide in batch.wide.items()}
        reading["scale"] = [low, high]
        notes += [] if known else [pixels.scale_note(low, high, len(inner))]
    only = not batch.plain and not batch.wide and scale == "auto"
    only = only and any(mask.any() for mask in batch.masks.values())
    if batch.masks and (only or (known and tuple(scale) == (0, 1))):
        inner |= {i: pixels.scaled(mask, 0, 1) for i, mask in batch.masks.items()}
        reading["scale"] = [0, 1]
        notes += [] if known else [pixels.scale_note(0, 1, len(batch.masks))]
    else:
        inner |= {i: np.rint(mask).astype(np.uint8) for i, mask in batch.masks.items()}
    if rule.scale is not None and rule.scale != "auto":
        reading["scale"] = list(rule.scale)
    ground = rule.ground
    if ground == "auto":
        amounts = [(c.mean(), a.mean()) for c, a in batch.clear.values() if a.any()]
        ground = pixels.better_ground([ink / alpha for ink, alpha in amounts])
    reading["transparency"] = ground if batch.clear else None
    for i, (colours, alpha) in batch.clear.items():
        inner[i] = pixels.on_ground(
            colours, alpha if colours.ndim == 2 else alpha[..., None], ground
        )
    for i, image in inner.items():
        if image.ndim < len(shape):
            image = np.repeat(image[..., None], 3, axis=2)
        batch.images[i], batch.borders[i] = _framed(image, shape)
    return reading, notes


def _notes(batch, kept, found, rule, reading) -> list[str]:
    """What somebody should know of how the pictures were read."""
    n, notes = len(kept), []
    if found.left_out:
        left = sum(found.left_out.values())
        files = "1 file was" if left == 1 else f"{left} files were"
        notes.append(f"{files} not read as pictures: {counted(found.left_out)}")
    if batch.damaged:
        names = found.pictures or found.arrays
        listed = "; ".join(f"{names[i]} ({batch.damaged[i]})" for i in sorted(batch.damaged))
        damaged = len(batch.damaged)
        pictures = "1 damaged picture was" if damaged == 1 else f"{damaged} damaged pictures were"
        notes.append(f"{pictures} left out: {listed}")
    if batch.counts["frames"]:
        notes.append(
            f"{batch.counts['frames']} of {n} pictures have several frames or pages; the first of "
            "each is read"
        )
    if batch.counts["coloured"]:
        notes.append(
            f"{batch.counts['coloured']} of {n} pictures are coloured and read in grey (--colour "
            "keeps colours)"
        )
    large = batch.sides[kept] > REDUCED * PICTURE_SIZE
    if rule.size is None and large.any():
        side = int(np.median(batch.sides[kept][large]))
        notes.append(
            f"{int(large.sum())} of {n} pictures, mostly of about {side} pixels, are reduced to "
            f"{PICTURE_SIZE} pixels (--size keeps more)"
        )
    return notes


# ----------------------------------------------------------------------- arrays


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
    _check_memory(len(images), shape)
    fitted = np.empty((len(images), *shape), np.uint8)

    def fit(rows):
        for i in rows:
            picture = Image.fromarray(images.images[i]).convert("RGB" if colour else "L")
            fitted[i] = _framed(_fit(picture, shape), shape)[0]
        return ()

    _in_threads(fit, len(images), "resizing images", Counter())
    return replace(images, images=fitted), ", ".join(done)


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
    needed, memory = n * math.prod(shape), machine_memory()
    if needed > memory:
        found = f"{n} images of {'x'.join(map(str, shape))}, {needed / 1e9:.0f} GB"
        raise InputError(f"size: found {found}; expected at most {memory / 1e9:.0f} GB of memory")
