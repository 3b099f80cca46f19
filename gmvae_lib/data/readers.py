"""Readers of NPZ files and of torchvision's data sets."""

import os
import string
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from gmvae_lib.data.image_set import LETTERS, ImageSet, described, encoded_labels, is_stack
from gmvae_lib.data.storage import read_npz
from gmvae_lib.errors import InputError, needs_extra, one_line

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
    found = f"{name}: {attempt} ({one_line(error)})"
    return f"{found}; expected the four unpacked files {files} in {folder}{archive}"


def load_npz(path) -> ImageSet:
    arrays = read_npz(path, ("images",), ("labels",))
    images = _as_bytes(arrays["images"], path)
    labels, class_names = arrays.get("labels"), ()
    if labels is not None:
        if labels.dtype.kind not in "iuUS" or labels.shape != (len(images),):
            expected = f"integers or strings [{len(images)}]"
            raise InputError(f"{path}: labels are {described(labels)}; expected {expected}")
        if labels.dtype.kind == "S":
            labels = np.char.decode(labels, "utf-8", "backslashreplace")
        labels, class_names = encoded_labels(labels)
    return ImageSet(images, labels, class_names, {"name": path.stem, "source": str(path)})


def _as_bytes(images, path) -> np.ndarray:
    """Check an NPZ's images; floats in [0, 1] become uint8."""
    is_float = images.dtype.kind == "f"
    of_kind = is_float or images.dtype == np.uint8
    if not is_stack(images) or 0 in images.shape or not of_kind:
        expected = "[N, H, W] or [N, H, W, 3], not empty, uint8 or float in [0, 1]"
        raise InputError(f"{path}: images are {described(images)}; expected {expected}")
    if not is_float:
        return images
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # written so that NaN fails
        found = f"floats from {low:g} to {high:g}"
        raise InputError(f"{path}: images are {found}; expected values within [0, 1]")
    return np.rint(images.astype(np.float32) * 255).astype(np.uint8)
