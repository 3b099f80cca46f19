"""Reader of the IDX format of MNIST and EMNIST."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np

from gmvae_lib.data.image_set import LETTERS, ImageSet, encoded_labels
from gmvae_lib.data.readers import UNPACKING_ERRORS
from gmvae_lib.data.storage import check_size
from gmvae_lib.errors import InputError


def load_idx(path) -> ImageSet:
    images = _read_idx(path, ndim=3)
    labels, class_names, extra = None, (), {}
    if label_path := _beside(path, "labels-idx1"):
        labels = _read_column(label_path, len(images))
        if named_emnist(path) and labels.min() >= 1 and labels.max() <= len(LETTERS):
            labels, class_names = labels.astype(np.int64) - 1, LETTERS
        else:
            labels, class_names = encoded_labels(labels)
    if case_path := _beside(path, "case-idx1"):
        extra["case"] = _read_column(case_path, len(images))
    # "images-idx3-ubyte.gz" by itself says nothing, its folder's name does.
    prefix = path.name.partition("images-idx3")[0].strip("-_. ").removesuffix(".gz")
    provenance = {"name": prefix or path.absolute().parent.name, "source": str(path)}
    return ImageSet(images, labels, class_names, provenance, extra)


def named_emnist(path) -> bool:
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
