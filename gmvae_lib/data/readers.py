"""Readers of NPZ files and of torchvision's data sets."""

import os
import string
import zipfile
import zlib
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from gmvae_lib.data.identity import row_digests
from gmvae_lib.data.image_set import LETTERS, ImageSet, described, encoded_labels, is_stack
from gmvae_lib.data.pixels import eight_bits
from gmvae_lib.data.shards import ROWS_AT_ONCE, ShardedImages, open_npy
from gmvae_lib.data.storage import check_size, read_npz
from gmvae_lib.errors import InputError, needs_extra, one_line

# Names of arrays of images, the parts of one set together, in the order of the search.
NPZ_IMAGES = (
    *(("images",), ("x_train", "x_val", "x_test"), ("X_train", "X_val", "X_test")),
    *(("train_images", "val_images", "test_images"), ("X",), ("x",), ("data",), ("arr_0",)),
)
NPZ_LABELS = ("labels", "label", "y", "target", "targets")
DEFAULT_DATA_DIR = "~/.cache/gmvae_lib"
UNPACKING_ERRORS = (EOFError, zipfile.BadZipFile, zlib.error)


# How torchvision reports a missing file, a failed download, or a malformed file.
TORCHVISION_ERRORS = (
    *(RuntimeError, OSError, ValueError, TypeError, LookupError, AssertionError),
    *UNPACKING_ERRORS,
)


def load_torchvision(name, data_dir, download) -> ImageSet:
    """Read both parts of EMNIST Letters or MNIST, train first."""
    with needs_extra(name, "study"):
        from torchvision import datasets  # here, because importing torch takes seconds

    root = Path(data_dir or os.environ.get("EMNIST_ROOT") or DEFAULT_DATA_DIR).expanduser()
    emnist = name == "emnist-letters"
    dataset = partial(datasets.EMNIST, split="letters") if emnist else datasets.MNIST
    raw = root / ("EMNIST" if emnist else "MNIST") / "raw"
    missing = [folder for folder in (raw, raw.parent, root) if not folder.exists()]
    try:
        parts = [dataset(root, train=train, download=download) for train in (True, False)]
    except TORCHVISION_ERRORS as error:
        for folder in missing:  # what torchvision made for a download that failed
            with suppress(OSError):
                folder.rmdir()
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
    found = f"{name}: {attempt} ({one_line(error)})"
    return f"{found}; expected the four unpacked files {files} in {folder}{archive}"


def load_npy(path, scale="auto", ground="auto"):
    """An .npy file: on disk, or, should its type or layout need a change, in memory."""
    array = open_npy(path)
    eight = array.dtype == np.uint8 and array[:ROWS_AT_ONCE].max(initial=0) > 1  # no mask
    as_it_is = array.ndim < 3 or (is_stack(array) and (eight or array.dtype.kind == "f"))
    if as_it_is or array.dtype.kind not in "buif":  # the latter is refused
        return ShardedImages(path)
    check_size(path, array.nbytes, path.stat().st_size, packed=False)
    images, reading, notes = eight_bits(np.array(array), path, scale, ground)
    provenance = {"name": path.stem, "source": str(path)}
    provenance["reading"] = reading | {"kind": "arrays", "notes": notes}
    return ImageSet(images, provenance=provenance, extra={"digest": row_digests(array)})


def load_npz(path, scale="auto", ground="auto") -> ImageSet:
    """Read an NPZ whose images and labels have the names of one of `NPZ_KEYS`.

    Parts of one set, such as x_train and x_test, are read one after the other.
    """
    names = [name for names in NPZ_IMAGES for name in names]
    arrays = read_npz(path, (), [*names, *(key for name in names for key in _label_names(name))])
    names = next((names for names in NPZ_IMAGES if names[0] in arrays), ("images",))
    if names[0] not in arrays:
        read_npz(path, ("images",), ())  # says what there is instead
    names = [name for name in names if name in arrays]
    parts = [arrays[name] for name in names]
    if len({(part.shape[1:], part.dtype) for part in parts}) > 1:
        found = " and ".join(described(part) for part in parts)
        raise InputError(f"{path}: images are {found}; expected parts of one shape and type")
    stored = parts[0] if len(parts) == 1 else np.concatenate(parts)
    images, reading, notes = eight_bits(stored, path, scale, ground)
    provenance = {"name": path.stem, "source": str(path)}
    if len(parts) > 1:
        provenance["parts"] = dict(zip(names, map(len, parts), strict=True))
        notes.append(f"{', '.join(names)} are read one after the other")
    labels = [part for name in names if (part := _npz_labels(arrays, name, path)) is not None]
    codes, class_names = None, ()
    if len(labels) == len(names):
        try:
            codes, class_names = encoded_labels(np.concatenate(labels))
        except InputError as error:
            raise InputError(f"{path}: labels: {error}") from None
    provenance["reading"] = reading | {"kind": "arrays", "notes": notes}
    return ImageSet(images, codes, class_names, provenance, {"digest": row_digests(stored)})


def _label_names(name):
    """Names of the labels of an array of images, the likeliest first."""
    of_part = (name.lower().replace("x_", "y_"), name.replace("images", "labels"))
    return [key for key in (*of_part, *NPZ_LABELS, "arr_1") if key != name]


def _npz_labels(arrays, name, path) -> np.ndarray | None:
    """The labels of a part, as [n], if there are any."""
    images = arrays[name]
    labels = next((arrays[key] for key in _label_names(name) if key in arrays), None)
    if labels is None or labels.ndim > 2:  # a second array of images
        return None
    stored = labels
    if labels.shape == (len(images), 1):  # as MedMNIST has them
        labels = labels[:, 0]
    whole = labels.dtype.kind == "f" and (np.isnan(labels) | (labels == np.rint(labels))).all()
    if labels.dtype.kind not in "iubUS" and not whole or labels.shape != (len(images),):
        expected = f"integers or strings [{len(images)}]"
        raise InputError(f"{path}: labels are {described(stored)}; expected {expected}")
    if whole:  # whole numbers and NaN, as pandas has integers of which some are missing
        return np.where(np.isnan(labels), -1, labels).astype(np.int64)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8", "backslashreplace")
    return labels
