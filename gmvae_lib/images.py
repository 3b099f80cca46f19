"""Images in, with where they came from: the `ImageSet` and its loaders.

`load_images` reads EMNIST Letters and MNIST (through torchvision), an IDX file, an NPZ, or a folder
of pictures; `rendered_letters` draws letters from the fonts that matplotlib ships, so that
everything runs with no file at all.
"""

import gzip
import hashlib
import math
import os
import string
import struct
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from gmvae_lib.errors import InputError
from gmvae_lib.glyphs import draw_letters
from gmvae_lib.shards import ShardedImages
from gmvae_lib.storage import check_size, read_npz

DATASETS = ("emnist-letters", "mnist", "rendered-letters")
LETTERS = tuple(string.ascii_lowercase)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
PICTURE_SIZE = 28
LARGEST_SIZE = 4096
BORDER_SAMPLE = 5000  # images whose borders are looked at, in even steps
DEFAULT_DATA_DIR = "~/.cache/gmvae_lib"

UNPACKING_ERRORS = (EOFError, zipfile.BadZipFile, zlib.error)
# How torchvision reports a missing file, a failed download, or a malformed file.
TORCHVISION_ERRORS = (
    *(RuntimeError, OSError, ValueError, TypeError, LookupError, AssertionError),
    *UNPACKING_ERRORS,
)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with optional labels and a record of their origin.

    Parameters
    ----------
    images : uint8 [N, H, W], grey, or [N, H, W, 3], RGB
        Of grey ones 0 is background: ink is bright, as in EMNIST.
    labels : int [N], optional
        Codes 0..C-1, the positions of the true classes in `class_names`.
    class_names : tuple of str, length C
    provenance : dict
        JSON-able. `n`, `shape`, `labels` (whether there are any) and `sha256` (of the image bytes,
        C order) are filled in from the images.
    extra : dict of arrays [N, ...]
        Further columns, such as "case" (0 unknown, 1 upper, 2 lower) or "path".
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    provenance: dict = field(default_factory=dict)
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        images = np.asarray(self.images)
        if images.dtype != np.uint8 or not _is_stack(images):
            raise InputError(
                f"images: {_describe(images)}; expected uint8 [N, H, W] or [N, H, W, 3]"
            )
        images = np.ascontiguousarray(images)
        n = len(images)
        class_names = tuple(str(name) for name in self.class_names)
        labels = None if self.labels is None else _checked_labels(self.labels, n, len(class_names))
        extra = {name: np.asarray(column) for name, column in self.extra.items()}
        for name, column in extra.items():
            if column.shape[:1] != (n,):
                found = _describe(column)
                raise InputError(f"extra[{name!r}]: {found}; expected {n} rows, one an image")
        provenance = {
            **{"name": "images", "source": "arrays in memory", "transposed": False},
            **self.provenance,
            "n": n,
            "shape": list(images.shape),
            "labels": labels is not None,
            "sha256": hashlib.sha256(images).hexdigest(),
        }
        checked = {
            "images": images,
            "labels": labels,
            "class_names": class_names,
            "provenance": provenance,
            "extra": extra,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # a frozen dataclass allows nothing else

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self) -> np.ndarray:
        """Return the images as float32 [N, H*W], or [N, H*W*3], in [0, 1]."""
        return self.images.reshape(len(self), math.prod(self.images.shape[1:])) / np.float32(255)

    def subset(self, index) -> "ImageSet":
        """Return the images that a slice, an integer array or a boolean mask chooses.

        The provenance gains `subset_of`, the parent's sha256.
        """
        if not isinstance(index, slice):
            index = np.atleast_1d(index)
            if index.size == 0:
                index = index.astype(np.intp)  # numpy makes an empty list float
        try:
            index = np.arange(len(self))[index]
        except IndexError as error:
            expected = f"positions or a mask within {len(self)} images"
            raise InputError(f"index: {error}; expected {expected}") from None
        return ImageSet(
            self.images[index],
            None if self.labels is None else self.labels[index],
            self.class_names,
            self.provenance | {"subset_of": self.provenance["sha256"]},
            {name: column[index] for name, column in self.extra.items()},
        )


def load_images(
    source,
    data_dir=None,
    download=True,
    transpose="auto",
    size=None,
    colour=False,
    inverted="auto",
) -> ImageSet:
    """Load a data set by name, or a file or folder of images.

    How the images were read is in `provenance["reading"]`: `shape`, `colour`, `inverted`,
    `transparency`, `converted` (what had to be done to arrays of another form, or None) and
    `bright_borders`, the share of the images, as read, whose border is brighter than mid-grey.

    Parameters
    ----------
    source : str or Path
        "emnist-letters" (145,600: train and test merged), "mnist" (70,000, merged),
        "rendered-letters", or a path: an .npy file or a folder of them, which stay on disk
        (`shards.ShardedImages`, for any number of images, without labels), an IDX images file
        (gzipped or not; its `labels-idx1` and `case-idx1` files are read if beside it), an .npz
        with `images` and, optionally, `labels`, or a folder of pictures, whose sub-folders name
        the classes.
    data_dir : path, optional
        Folder that holds `EMNIST/raw` and `MNIST/raw`; by default the environment's EMNIST_ROOT,
        else `~/.cache/gmvae_lib`.
    download : bool
        Whether torchvision may download what `data_dir` lacks (536 MB for EMNIST).
    transpose : "auto", True or False
        Whether to swap rows and columns. EMNIST's files are stored transposed: "auto" does it for
        "emnist-letters" and for an IDX file with "emnist" in its name or its folder's.
    size : int or (height, width), optional
        Pixels to fit every image into: aspect kept, centred, padded with the median of its border.
        Without it a folder's pictures become 28 x 28 and other images keep their size.
    colour : bool
        Whether to read RGB, [N, H, W, 3]; otherwise grey, whatever is stored.
    inverted : "auto", True or False
        Whether to turn a folder's pictures from dark on bright to bright on dark. "auto": grey ones
        if most borders are bright, colour ones never. Arrays are taken as they are.

    Raises
    ------
    InputError
        One line that says what is missing or malformed.
    """
    if transpose not in ("auto", True, False):
        raise InputError(f"transpose: {transpose!r}; expected 'auto', True or False")
    if inverted not in ("auto", True, False):
        raise InputError(f"inverted: {inverted!r}; expected 'auto', True or False")
    size = _checked_size(size)
    if isinstance(source, str) and source in DATASETS:
        stored_transposed = source == "emnist-letters"
        if source == "rendered-letters":
            images = rendered_letters()
        else:
            images = _load_torchvision(source, data_dir, download)
    else:
        path = Path(source).expanduser()
        try:
            images, stored_transposed = _load_path(path, size, colour, inverted)
        except PermissionError as error:
            found = f"{error.filename or path}: {error.strerror}"
            raise InputError(f"{found}; expected readable files") from None
    if isinstance(images, ShardedImages):
        return _as_stored(images, size, transpose)
    if stored_transposed if transpose == "auto" else transpose:
        provenance = images.provenance | {"transposed": True}
        images = replace(images, images=images.images.swapaxes(1, 2), provenance=provenance)
    images, converted = _converted(images, size, colour)
    images.provenance["reading"] = {
        "shape": list(images.images.shape[1:]),
        "colour": bool(colour),
        "inverted": images.provenance.get("inverted"),
        "transparency": "white",
        "converted": converted,
        "bright_borders": round(_bright_borders(images.images), 4),
    }
    return images


def _as_stored(images: ShardedImages, size, transpose) -> ShardedImages:
    """Images on disk are taken as they are, or refused."""
    if transpose is True:
        raise InputError(
            f"transpose: found True for {images.source}, expected .npy files as they are"
        )
    if size is not None and images.shape[1:3] != size:
        raise InputError(
            f"{images.source}: found images of shape {images.shape[1:]}, expected "
            f"{size[0]} x {size[1]}: .npy files are taken as they are"
        )
    images.provenance["reading"] = {"converted": None, "bright_borders": None}
    return images


def reading_rule(image_shape, provenance) -> dict:
    """Arguments of `load_images` that read new images as those of a run were.

    Parameters
    ----------
    image_shape : (H, W) or (H, W, 3), of the run. provenance : that of the images it learned from.
    """
    if len(image_shape) not in (2, 3):
        raise InputError(
            f"run: found one trained on rows of {image_shape[0]} features; expected on images"
        )
    inverted = provenance.get("inverted")  # only a folder of pictures was asked
    return {
        "size": tuple(image_shape[:2]),
        "colour": len(image_shape) == 3,
        "inverted": "auto" if inverted is None else inverted,
    }


def reading_notes(images, provenance=None) -> list[str]:
    """What somebody should know of how images were read: sentences, mostly none.

    With the provenance of the images that a run learned from, also whether the borders, which are
    mostly background, are bright in one set and dark in the other.
    """
    here = images.provenance["reading"]
    notes = [here["converted"]] if here["converted"] else []
    there = (provenance or {}).get("reading", {}).get("bright_borders")
    known = None not in (here["bright_borders"], there)
    # either majority alone may be narrow; both must be clear, or a note would cry wolf
    if known and abs(here["bright_borders"] - there) > 0.5:
        notes.append(
            f"{here['bright_borders']:.0%} of the images have a bright border, {there:.0%} of "
            "those that the run learned from: dark and bright may be the wrong way round"
        )
    return notes


def rendered_letters(n=5200, seed=0, size=28) -> ImageSet:
    """Draw n letters a..z by `glyphs.draw_letters`; `extra["case"]` is 1 for upper, 2 for lower.

    The same seed gives the same bytes (with the same matplotlib and Pillow).
    """
    images, labels, upper = draw_letters(n, seed, size)
    provenance = {
        "name": "rendered-letters",
        "source": f"rendered_letters(n={n}, seed={seed}, size={size}), fonts of matplotlib",
    }
    case = np.where(upper, 1, 2).astype(np.uint8)
    return ImageSet(images, labels, LETTERS, provenance, {"case": case})


def _load_path(path, size, colour, inverted) -> tuple[ImageSet, bool]:
    """Read a file or folder, and say whether its images are stored transposed."""
    if path.suffix.lower() == ".npy" or (path.is_dir() and any(path.glob("*.npy"))):
        return ShardedImages(path), False
    if path.is_dir():
        return _load_folder(path, size, colour, inverted), False
    if not path.is_file():
        choices = ", ".join(DATASETS)
        raise InputError(f"{path}: no such file or folder; expected a path or one of {choices}")
    if path.suffix.lower() == ".npz":
        return _load_npz(path), False
    return _load_idx(path), _named_emnist(path)


# ---------------------------------------------------------------- torchvision


def _load_torchvision(name, data_dir, download) -> ImageSet:
    """Read both parts of EMNIST Letters or MNIST, train first."""
    from torchvision import datasets  # here, because importing torch takes seconds

    root = Path(data_dir or os.environ.get("EMNIST_ROOT") or DEFAULT_DATA_DIR).expanduser()
    emnist = name == "emnist-letters"
    dataset = partial(datasets.EMNIST, split="letters") if emnist else datasets.MNIST
    try:
        parts = [dataset(root, train=train, download=download) for train in (True, False)]
    except TORCHVISION_ERRORS as error:
        raise InputError(_missing_data_message(name, root, download, error)) from error
    images = np.concatenate([part.data.numpy() for part in parts])
    labels = np.concatenate([part.targets.numpy() for part in parts])
    if emnist:
        labels = labels - 1  # the letters split counts from 1; torchvision's class 0 is "N/A"
    provenance = {
        "name": name,
        "source": f"torchvision {'EMNIST letters' if emnist else 'MNIST'} train+test merged",
        "parts": {"train": len(parts[0].data), "test": len(parts[1].data)},
    }
    return ImageSet(images, labels, LETTERS if emnist else tuple(string.digits), provenance)


def _missing_data_message(name, root, download, error) -> str:
    if name == "emnist-letters":
        folder = root / "EMNIST" / "raw"
        files = "emnist-letters-{train,test}-{images-idx3,labels-idx1}-ubyte"
        archive = (
            ", or there, to be unpacked with download=True, EMNIST's gzip.zip "
            "(536 MB, md5 58c8d27c78d21e728a6bc7b3cc06412e)"
        )
    else:
        folder = root / "MNIST" / "raw"
        files = "{train,t10k}-{images-idx3,labels-idx1}-ubyte"
        archive = ""
    attempt = "not readable and not downloaded" if download else "not readable, download=False"
    found = f"{name}: {attempt} ({_one_line(error)})"
    return f"{found}; expected the four unpacked files {files} in {folder}{archive}"


# ------------------------------------------------------------------------ IDX


def _load_idx(path) -> ImageSet:
    images = _read_idx(path, ndim=3)
    labels, class_names, extra = None, (), {}
    if label_path := _beside(path, "labels-idx1"):
        labels = _read_column(label_path, len(images))
        if _named_emnist(path) and labels.min() >= 1 and labels.max() <= len(LETTERS):
            labels, class_names = labels.astype(np.int64) - 1, LETTERS
        else:
            labels, class_names = _encode(labels)
    if case_path := _beside(path, "case-idx1"):
        extra["case"] = _read_column(case_path, len(images))
    # "images-idx3-ubyte.gz" by itself says nothing, its folder's name does.
    prefix = path.name.partition("images-idx3")[0].strip("-_. ").removesuffix(".gz")
    provenance = {"name": prefix or path.absolute().parent.name, "source": str(path)}
    return ImageSet(images, labels, class_names, provenance, extra)


def _named_emnist(path) -> bool:
    return any("emnist" in name.lower() for name in (path.name, path.absolute().parent.name))


def _beside(path, kind) -> Path | None:
    """Find the file, gzipped or not, named as `path` is but with `kind` for `images-idx3`."""
    if "images-idx3" not in path.name:
        return None
    name = path.name.replace("images-idx3", kind).removesuffix(".gz")
    # The companion packed like the images comes first, should both exist.
    suffixes = (".gz", "") if path.name.endswith(".gz") else ("", ".gz")
    return next((p for s in suffixes if (p := path.with_name(name + s)).is_file()), None)


def _read_column(path, n_images) -> np.ndarray:
    column = _read_idx(path, ndim=1)
    if len(column) != n_images:
        expected = f"{n_images}, one for each image beside it"
        raise InputError(f"{path}: {len(column)} entries; expected {expected}")
    return column


def _read_idx(path, ndim) -> np.ndarray:
    """Read an IDX file of unsigned bytes: magic 00 00 08 `ndim`, big-endian sizes, data, no more.

    Format: LeCun, Cortes & Burges, yann.lecun.com/exdb/mnist.
    """
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            shape = _read_idx_header(path, file, ndim)
            expected = math.prod(shape)
            check_size(path, expected, path.stat().st_size, packed)
            data = np.empty(expected, np.uint8)
            filled = 0
            while filled < expected and (count := file.readinto(memoryview(data)[filled:])):
                filled += count
            surplus = bool(file.read(1))
    except (gzip.BadGzipFile, *UNPACKING_ERRORS) as error:
        raise InputError(f"{path}: corrupt gzip file ({error}); expected a complete one") from None
    if filled < expected or surplus:
        found = f"more than {expected}" if surplus else str(filled)
        raise InputError(f"{path}: {found} bytes of data; expected {expected} for shape {shape}")
    return data.reshape(shape)


def _read_idx_header(path, file, ndim) -> tuple[int, ...]:
    magic = bytes((0, 0, 8, ndim))
    size = 4 + 4 * ndim
    header = file.read(size)
    if header[:4] != magic:
        found = header[:4].hex() or "nothing"
        raise InputError(f"{path}: starts with {found}; expected IDX magic {magic.hex()}")
    if len(header) < size:
        raise InputError(f"{path}: {len(header)} bytes; expected an IDX header of {size}")
    shape = struct.unpack(f">{ndim}I", header[4:])
    if 0 in shape:
        raise InputError(f"{path}: shape {shape}; expected no dimension to be 0")
    return shape


# ------------------------------------------------------------------------ NPZ


def _load_npz(path) -> ImageSet:
    arrays = read_npz(path, ("images",), ("labels",))
    images = _as_bytes(arrays["images"], path)
    labels, class_names = arrays.get("labels"), ()
    if labels is not None:
        if labels.dtype.kind not in "iuUS" or labels.shape != (len(images),):
            expected = f"integers or strings [{len(images)}]"
            raise InputError(f"{path}: labels are {_describe(labels)}; expected {expected}")
        if labels.dtype.kind == "S":
            labels = np.char.decode(labels, "utf-8", "backslashreplace")
        labels, class_names = _encode(labels)
    return ImageSet(images, labels, class_names, {"name": path.stem, "source": str(path)})


def _as_bytes(images, path) -> np.ndarray:
    """Check an NPZ's images; floats in [0, 1] become uint8."""
    is_float = images.dtype.kind == "f"
    of_kind = is_float or images.dtype == np.uint8
    if not _is_stack(images) or 0 in images.shape or not of_kind:
        expected = "[N, H, W] or [N, H, W, 3], not empty, uint8 or float in [0, 1]"
        raise InputError(f"{path}: images are {_describe(images)}; expected {expected}")
    if not is_float:
        return images
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # written so that NaN fails
        found = f"floats from {low:g} to {high:g}"
        raise InputError(f"{path}: images are {found}; expected values within [0, 1]")
    return np.rint(images.astype(np.float32) * 255).astype(np.uint8)


# ------------------------------------------------------------------- pictures


def _load_folder(folder, size, colour, inverted) -> ImageSet:
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
    classes = [name.split("/")[0] for name in names if "/" in name]
    if 0 < len(classes) < len(names):
        loose = folder / next(name for name in names if "/" not in name)
        expected = "all pictures in sub-folders, which name the classes, or none"
        raise InputError(f"{loose}: lies beside sub-folders with pictures; expected {expected}")
    height, width = size or (PICTURE_SIZE, PICTURE_SIZE)
    images, borders = _fit_all(
        lambda name: _open_picture(folder / name, colour),
        names,
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
    labels, class_names = _encode(classes) if classes else (None, ())
    return ImageSet(images, labels, class_names, provenance, {"path": np.array(names)})


def _open_picture(path, colour):
    """The Pillow picture in a file, upright, in mode "L" or "RGB"."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _as_mode(ImageOps.exif_transpose(opened), "RGB" if colour else "L")
    # Over broken bytes, Pillow's many readers raise whatever they run into.
    except Exception as error:
        reason = _one_line(error)
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


# --------------------------------------------------------------------- fitting


def _converted(images, size, colour) -> tuple[ImageSet, str | None]:
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


def _bright_borders(images) -> float:
    """Share of images whose median border is brighter than mid-grey."""
    some = images[:: -(-len(images) // BORDER_SAMPLE)]
    edges = [some[:, 0], some[:, -1], some[:, 1:-1, 0], some[:, 1:-1, -1]]
    border = np.median(np.concatenate(edges, axis=1), axis=1)
    return float((border.reshape(len(some), -1).mean(axis=1) > 127).mean())


def _checked_size(size) -> tuple[int, int] | None:
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
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return
    if needed > memory:
        found = f"{n} images of {'x'.join(map(str, shape))}, {needed / 1e9:.0f} GB"
        raise InputError(f"size: found {found}; expected at most {memory / 1e9:.0f} GB of memory")


# -------------------------------------------------------------------- helpers


def _checked_labels(labels, n, n_classes) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (n,):
        raise InputError(f"labels: {_describe(labels)}; expected integers [{n}], one an image")
    if n and (labels.min() < 0 or labels.max() >= n_classes):
        found = f"values {labels.min()}..{labels.max()}"
        raise InputError(f"labels: {found}; expected positions in {n_classes} class names, from 0")
    return labels.astype(np.int64)


def _encode(values) -> tuple[np.ndarray, tuple[str, ...]]:
    """Code labels as positions in their sorted distinct values, whose text names the classes."""
    distinct, codes = np.unique(values, return_inverse=True)
    return codes, tuple(str(value) for value in distinct)


def _is_stack(images) -> bool:
    """Whether an array is [N, H, W] or [N, H, W, 3]."""
    return images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)


def _describe(array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _one_line(error) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
