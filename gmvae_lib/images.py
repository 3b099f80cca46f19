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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from gmvae_lib.errors import InputError
from gmvae_lib.glyphs import draw_letters
from gmvae_lib.storage import check_size, read_npz

DATASETS = ("emnist-letters", "mnist", "rendered-letters")
LETTERS = tuple(string.ascii_lowercase)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
PICTURE_SIZE = 28
DEFAULT_DATA_DIR = "~/.cache/gmvae_lib"

UNPACKING_ERRORS = (EOFError, zipfile.BadZipFile, zlib.error)
# How torchvision reports a missing file, a failed download, or a malformed file.
TORCHVISION_ERRORS = (
    *(RuntimeError, OSError, ValueError, TypeError, LookupError, AssertionError),
    *UNPACKING_ERRORS,
)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Grey images with optional labels and a record of their origin.

    Parameters
    ----------
    images : uint8 [N, H, W]
        0 is background: ink is bright, as in EMNIST.
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
        if images.dtype != np.uint8 or images.ndim != 3:
            raise InputError(f"images: {_describe(images)}; expected uint8 [N, H, W]")
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
        """Return the images as float32 [N, H*W] in [0, 1]."""
        n, height, width = self.images.shape
        return self.images.reshape(n, height * width) / np.float32(255)

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


def load_images(source, data_dir=None, download=True, transpose="auto") -> ImageSet:
    """Load a data set by name, or a file or folder of images.

    Parameters
    ----------
    source : str or Path
        "emnist-letters" (145,600: train and test merged), "mnist" (70,000, merged),
        "rendered-letters", or a path: an IDX images file (gzipped or not; its `labels-idx1` and
        `case-idx1` files are read if beside it), an .npz with `images` and, optionally, `labels`,
        or a folder of pictures, whose sub-folders name the classes.
    data_dir : path, optional
        Folder that holds `EMNIST/raw` and `MNIST/raw`; by default the environment's EMNIST_ROOT,
        else `~/.cache/gmvae_lib`.
    download : bool
        Whether torchvision may download what `data_dir` lacks (536 MB for EMNIST).
    transpose : "auto", True or False
        Whether to swap rows and columns. EMNIST's files are stored transposed: "auto" does it for
        "emnist-letters" and for an IDX file with "emnist" in its name or its folder's.

    Raises
    ------
    InputError
        One line that says what is missing or malformed.
    """
    if transpose not in ("auto", True, False):
        raise InputError(f"transpose: {transpose!r}; expected 'auto', True or False")
    if isinstance(source, str) and source in DATASETS:
        stored_transposed = source == "emnist-letters"
        if source == "rendered-letters":
            images = rendered_letters()
        else:
            images = _load_torchvision(source, data_dir, download)
    else:
        path = Path(source).expanduser()
        try:
            images, stored_transposed = _load_path(path)
        except PermissionError as error:
            found = f"{error.filename or path}: {error.strerror}"
            raise InputError(f"{found}; expected readable files") from None
    if stored_transposed if transpose == "auto" else transpose:
        provenance = images.provenance | {"transposed": True}
        images = replace(images, images=images.images.swapaxes(1, 2), provenance=provenance)
    return images


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


def _load_path(path) -> tuple[ImageSet, bool]:
    """Read a file or folder, and say whether its images are stored transposed."""
    if path.is_dir():
        return _load_folder(path), False
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
    if images.ndim != 3 or 0 in images.shape or not (is_float or images.dtype == np.uint8):
        expected = "[N, H, W], not empty, uint8 or float in [0, 1]"
        raise InputError(f"{path}: images are {_describe(images)}; expected {expected}")
    if not is_float:
        return images
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # written so that NaN fails
        found = f"floats from {low:g} to {high:g}"
        raise InputError(f"{path}: images are {found}; expected values within [0, 1]")
    return np.rint(images.astype(np.float32) * 255).astype(np.uint8)


# ------------------------------------------------------------------- pictures


def _load_folder(folder) -> ImageSet:
    """Read every picture under a folder, in the order of the sorted relative paths."""
    from tqdm import tqdm

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
    images = np.empty((len(names), PICTURE_SIZE, PICTURE_SIZE), np.uint8)
    bright_borders = 0
    for i, name in enumerate(tqdm(names, desc="reading pictures", delay=2, disable=None)):
        images[i], border = _read_picture(folder / name)
        bright_borders += border > 127
    # One decision for the whole folder: a letter that fills its picture must not be inverted alone.
    inverted = bright_borders * 2 > len(names)
    provenance = {
        "name": folder.absolute().name,
        "source": str(folder),
        "resized": f"grey; transparency as white; longer side to {PICTURE_SIZE} px, aspect kept, "
        "antialiased (bilinear); centred on a square of the median border grey",
        "inverted": inverted,
        "polarity": f"border median above 127 in {bright_borders} of {len(names)} pictures; "
        "inverted if in most",
    }
    labels, class_names = _encode(classes) if classes else (None, ())
    extra = {"path": np.array(names)}
    return ImageSet(255 - images if inverted else images, labels, class_names, provenance, extra)


def _read_picture(path) -> tuple[np.ndarray, float]:
    """Return one picture as uint8 [28, 28] and the median grey of its border pixels."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = _as_grey(ImageOps.exif_transpose(opened))
    # Over broken bytes, Pillow's many readers raise whatever they run into.
    except Exception as error:
        reason = _one_line(error)
        raise InputError(f"{path}: not readable ({reason}); expected a complete picture") from error
    scale = PICTURE_SIZE / max(picture.size)
    small = [max(1, round(side * scale)) for side in picture.size]
    # Pillow's bilinear filter widens with the reduction, so it does not alias.
    letter = np.asarray(picture.resize(small, Image.Resampling.BILINEAR))
    edges = [letter[0], letter[-1], letter[1:-1, 0], letter[1:-1, -1]]
    border = float(np.median(np.concatenate(edges)))
    height, width = letter.shape
    top, left = (PICTURE_SIZE - height) // 2, (PICTURE_SIZE - width) // 2
    square = np.full((PICTURE_SIZE, PICTURE_SIZE), round(border), np.uint8)
    square[top : top + height, left : left + width] = letter
    return square, border


def _as_grey(picture):
    """Convert a Pillow picture to 8-bit grey (mode "L")."""
    from PIL import Image

    if picture.mode.startswith("I;16"):  # convert("L") would clip 16 bits, not scale them
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"32-bit grey values, mode {picture.mode}")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("L")
    return picture.convert("L")


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


def _describe(array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _one_line(error) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
