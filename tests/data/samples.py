"""Small files of images, and checks, that several test files of this folder share."""

import gzip
import string
import struct

import numpy as np
import pytest
from PIL import Image

from gmvae_lib.data.images import load_images
from gmvae_lib.errors import InputError

A_TO_Z = tuple(string.ascii_lowercase)


def idx_bytes(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(path, array):
    data = idx_bytes(np.asarray(array))
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def corner_image(n=1, side=28):
    """Images with one bright pixel at row 2, column 9: not their own transpose."""
    images = np.zeros((n, side, side), np.uint8)
    images[:, 2, 9] = 255
    return images


def one_line(error):
    """The message of an InputError, which must be one line."""
    message = str(error.value)
    assert message and "\n" not in message
    return message


def rejects(source, *fragments, **options):
    with pytest.raises(InputError) as error:
        load_images(source, **options)
    message = one_line(error)
    for fragment in fragments:
        assert fragment in message
    return message


def save_picture(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path, **options)
    return path
