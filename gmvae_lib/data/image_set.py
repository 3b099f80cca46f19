"""An image collection with its labels and provenance."""

import math
import string
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gmvae_lib.data.identity import digest_of, row_digests
from gmvae_lib.data.missing import has_label
from gmvae_lib.data.storage import array_digest
from gmvae_lib.errors import InputError

LETTERS = tuple(string.ascii_lowercase)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with optional labels and a record of their origin.

    Parameters
    ----------
    images : uint8 [N, H, W], grey, or [N, H, W, 3], RGB
        Of grey ones 0 is background: ink is bright, as in EMNIST.
    labels : int [N], optional
        Codes 0..C-1, the positions of the true classes in `class_names`; -1 where there is none.
    class_names : tuple of str, length C
    provenance : dict
        JSON-able. `n`, `shape`, `labels` (whether there are any) and `sha256` (of the image bytes,
        C order) are filled in from the images.
    extra : dict of arrays [N, ...]
        Further columns, such as "case" (0 unknown, 1 upper, 2 lower), "path" or "digest".

    Attributes
    ----------
    paths : tuple of str, or None
        Relative path of each picture, surrogate-escaped where it is no UTF-8; None of arrays.
    digests : str [N]
        The content of each image: 16 hex digits of the sha256 of the picture's file, or of the
        bytes of the row as stored, before it was turned, resized or made grey.
    set_digest : str
        The digest of all images in their order.

    Examples
    --------
    >>> two = ImageSet(np.zeros((2, 4, 4), np.uint8))
    >>> two.paths, two.digests.tolist()
    (None, ['374708fff7719dd5', '374708fff7719dd5'])
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    provenance: dict = field(default_factory=dict)
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        images = np.asarray(self.images)
        if images.dtype != np.uint8 or not is_stack(images):
            raise InputError(
                f"images: {described(images)}; expected uint8 [N, H, W] or [N, H, W, 3]"
            )
        images = np.ascontiguousarray(images)
        n = len(images)
        class_names = tuple(str(name) for name in self.class_names)
        labels = None if self.labels is None else _checked_labels(self.labels, n, len(class_names))
        extra = {name: np.asarray(column) for name, column in self.extra.items()}
        for name, column in extra.items():
            if column.shape[:1] != (n,):
                found = described(column)
                raise InputError(f"extra[{name!r}]: {found}; expected {n} rows, one an image")
        provenance = {
            **{"name": "images", "source": "arrays in memory", "transposed": False},
            **self.provenance,
            "n": n,
            "shape": list(images.shape),
            "labels": labels is not None,
            "sha256": array_digest(images),
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

    @property
    def paths(self) -> tuple[str, ...] | None:
        return tuple(self.extra["path"].tolist()) if "path" in self.extra else None

    @cached_property
    def digests(self) -> np.ndarray:
        return self.extra["digest"] if "digest" in self.extra else row_digests(self.images)

    @cached_property
    def set_digest(self) -> str:
        return digest_of("".join(self.digests).encode())

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
        part = ImageSet(
            self.images[index],
            None if self.labels is None else self.labels[index],
            self.class_names,
            self.provenance | {"subset_of": self.provenance["sha256"]},
            {"digest": self.digests[index]}
            | {name: column[index] for name, column in self.extra.items()},
        )
        if "digest" in part.provenance:
            part.provenance["digest"] = part.set_digest
        return part


def _checked_labels(labels, n, n_classes) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (n,):
        raise InputError(f"labels: {described(labels)}; expected integers [{n}], one an image")
    if n and (labels.min() < -1 or labels.max() >= n_classes):
        found = f"values {labels.min()}..{labels.max()}"
        raise InputError(f"labels: {found}; expected positions in {n_classes} class names, or -1")
    return labels.astype(np.int64)


def encoded_labels(values, known=None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Code labels as positions in their sorted distinct values, whose text names the classes.

    What is no label gets -1: where ``known`` is False, by default what `missing.has_label` says.

    Examples
    --------
    >>> codes, names = encoded_labels(np.array(["dog", "", "cat"]))
    >>> codes.tolist(), names
    ([1, -1, 0], ('cat', 'dog'))
    """
    values = np.asarray(values)
    known = has_label(values) if known is None else known
    codes = np.full(len(values), -1)
    distinct, codes[known] = np.unique(values[known], return_inverse=True)
    return codes, tuple(str(value) for value in distinct)


def is_stack(images) -> bool:
    """Whether an array is [N, H, W] or [N, H, W, 3]."""
    return images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)


def described(array) -> str:
    return f"{array.dtype} {list(array.shape)}"
