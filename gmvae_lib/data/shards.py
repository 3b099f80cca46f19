"""Images that stay on disk: one .npy file, or a folder of them, read a batch at a time.

A `ShardedImages` goes wherever an `ImageSet` does that is only cut into batches: `fit`,
`cluster_posterior`, the command line's train and posterior. Memory does not grow with the images.
"""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np

from gmvae_lib.data.identity import digest_of, row_digests
from gmvae_lib.errors import InputError

ROWS_AT_ONCE = 4096  # of a checksum


class ShardedImages:
    """The rows of several .npy files of one shape and type, one file after the other.

    Parameters
    ----------
    source : path of an .npy file, or of a folder whose .npy files are read in the order of their
        names. Each holds images uint8 [n, H, W] or [n, H, W, 3], or rows of numbers [n, D].

    Attributes
    ----------
    shape, dtype : as of one array of all the images. labels : None. provenance : dict, as of an
        `ImageSet`, the checksum computed in a stream.
    """

    labels = paths = None
    class_names = ()

    def __init__(self, source):
        self.source = Path(source).expanduser()
        files = sorted(self.source.glob("*.npy")) if self.source.is_dir() else [self.source]
        if not files:
            raise InputError(f"{self.source}: found no .npy file, expected at least one")
        self.files = files
        heads = [open_npy(file) for file in files]
        self.dtype, row = heads[0].dtype, heads[0].shape[1:]
        for file, head in zip(files, heads, strict=True):
            if head.ndim not in (2, 3, 4) or head.dtype.kind not in "uif":
                raise InputError(
                    f"{file}: found {head.dtype} {list(head.shape)}, expected numbers [n, H, W], "
                    "[n, H, W, 3] or [n, D]"
                )
            if head.shape[1:] != row or head.dtype != self.dtype:
                raise InputError(
                    f"{file}: found {head.dtype} {list(head.shape)}, expected {self.dtype} "
                    f"[n, {', '.join(map(str, row))}] as in {files[0].name}"
                )
        self.ends = np.cumsum([len(head) for head in heads])
        self.shape = (int(self.ends[-1]), *row)
        self.ndim, self.extra = len(self.shape), {}

    @property
    def images(self):
        """Itself: what an `ImageSet` keeps as one array."""
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> np.ndarray:
        """Rows by a slice or an array of positions, or one row, as an array in memory."""
        if isinstance(index, int | np.integer):
            return self[[index]][0]
        rows = (
            np.arange(*index.indices(len(self))) if isinstance(index, slice) else np.asarray(index)
        )
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise InputError(f"index: found {index!r}, expected a slice or an array of positions")
        if rows.size and not (0 <= rows.min() and rows.max() < len(self)):
            raise InputError(
                f"index: found {rows.min()} to {rows.max()}, expected 0 to {len(self) - 1}"
            )
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self.ends, rows, side="right")
        for i in np.unique(which):
            here = which == i
            start = self.ends[i - 1] if i else 0
            # mapped anew each time: pages that were read do not add up in the process
            out[here] = open_npy(self.files[i])[rows[here] - start]
        return out

    @cached_property
    def provenance(self) -> dict:
        """Name, shape and sha256 of the bytes of all images, one read through the files."""
        digest = hashlib.sha256()
        for start in range(0, len(self), ROWS_AT_ONCE):
            digest.update(self._checked(self[start : start + ROWS_AT_ONCE]))
        return {
            "name": self.source.stem,
            "source": str(self.source),
            "shards": len(self.files),
            "n": len(self),
            "shape": list(self.shape),
            "labels": False,
            "sha256": digest.hexdigest(),
        }

    def _checked(self, rows) -> np.ndarray:
        """Rows that a training could not use are refused here, where the file can be named."""
        low, high = (0, 1) if rows.dtype.kind != "f" else (rows.min(), rows.max())
        if not np.isfinite([low, high]).all():
            raise InputError(
                f"{self.source}: found NaN or infinite values, expected finite numbers"
            )
        if self.ndim > 2 and (low < 0 or high > 1):
            raise InputError(
                f"{self.source}: found values {low:.4g} to {high:.4g}, expected 0 to 1"
            )
        return rows

    @cached_property
    def digests(self) -> np.ndarray:
        """The digest of each row, str [N], one read through the files."""
        parts = (self[start : start + ROWS_AT_ONCE] for start in range(0, len(self), ROWS_AT_ONCE))
        return np.concatenate([row_digests(part) for part in parts])

    @cached_property
    def set_digest(self) -> str:
        return digest_of("".join(self.digests).encode())


def open_npy(file) -> np.ndarray:
    """The file's array, mapped: nothing is read yet."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file, expected an .npy file") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{file}: found no readable array ({error}), expected .npy") from None
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise InputError(f"{file}: found no array of rows, expected an .npy file of images")
    return array
