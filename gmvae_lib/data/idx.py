"""Reader of the IDX format of MNIST and EMNIST."""

import gzip
import hashlib
import math
import re
import struct
from pathlib import Path

import numpy as np

from gmvae_lib.data.folders import kind_of
from gmvae_lib.data.identity import row_digests
from gmvae_lib.data.image_set import LETTERS, ImageSet, encoded_labels
from gmvae_lib.data.pixels import eight_bits
from gmvae_lib.data.readers import UNPACKING_ERRORS
from gmvae_lib.data.storage import check_size
from gmvae_lib.errors import InputError

# sha256 of the gzip files of EMNIST Letters' images, by their size in bytes.
OFFICIAL_LETTERS = {
    30_804_864: "6288f418a917e007bf5fddb823a2dc7a5c6a35031401b93292a539cb12bd881f",
    5_039_157: "50f0e93d75b99b463e9760b8345866f22587fa2c2fba472730a5ba09c693412d",
}


def load_idx(path, scale="auto") -> tuple[ImageSet, str]:
    """Read an IDX file of images as stored, with the labels and cases that lie beside it.

    Also returns why its images should be transposed, as those of EMNIST Letters are stored: it is
    "known" by the file's sha256, or "guessed" if the images are 28 x 28 and all labels from 1 to 26
    occur; otherwise "". A name decides nothing.
    """
    stored = _read_idx(path, ndim=3)
    images, reading, notes = eight_bits(stored, path, scale)
    labels, class_names, extra = None, (), {"digest": row_digests(stored)}
    n_bytes = path.stat().st_size
    official = n_bytes in OFFICIAL_LETTERS and _sha256(path) == OFFICIAL_LETTERS[n_bytes]
    if label_path := _beside(path, "labels"):
        labels = _read_column(label_path, len(images))
        letters = np.array_equal(np.unique(labels), np.arange(1, len(LETTERS) + 1))
        if official or (letters and images.shape[1:] == (28, 28)):
            labels, class_names = labels.astype(np.int64) - 1, LETTERS
        else:
            labels, class_names = encoded_labels(labels)
    if case_path := _beside(path, "case"):
        extra["case"] = _read_column(case_path, len(images))
    # "images-idx3-ubyte.gz" by itself says nothing, its folder's name does.
    prefix = re.split("images[-.]idx3", path.name)[0].strip("-_. ").removesuffix(".gz")
    provenance = {
        "name": prefix or path.absolute().parent.name,
        "source": str(path),
        "reading": reading | {"kind": "idx", "notes": notes},
    }
    transposed = "known" if official else "guessed" if class_names == LETTERS else ""
    return ImageSet(images, labels, class_names, provenance, extra), transposed


def _sha256(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(path, kind) -> Path | None:
    """Find the file, gzipped or not, named as `path` is but with `kind` for `images`."""
    match = re.search("images([-.])idx3", path.name)
    if not match:
        return None
    # The companion spelt and packed like the images comes first, should there be others.
    packed = (".gz", "") if path.name.endswith(".gz") else ("", ".gz")
    for dash in dict.fromkeys((match[1], "-", ".")):
        name = path.name.replace(match[0], f"{kind}{dash}idx1").removesuffix(".gz")
        for suffix in packed:
            if (found := path.with_name(name + suffix)).is_file():
                return found
    return None


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
        what = kind_of(header)
        found = f"found {what}" if what else f"starts with {header[:4].hex() or 'nothing'}"
        expected = f"an IDX file of {'images' if ndim == 3 else 'labels'}, magic {magic.hex()}"
        if what and what.endswith("picture"):
            expected = "the folder of the pictures"
        elif ndim == 3:
            expected += ", an .npz or a folder of pictures"
        raise InputError(f"{path}: {found}; expected {expected}")
    if len(header) < size:
        raise InputError(f"{path}: {len(header)} bytes; expected an IDX header of {size}")
    shape = struct.unpack(f">{ndim}I", header[4:])
    if 0 in shape:
        raise InputError(f"{path}: shape {shape}; expected no dimension to be 0")
    return shape
