"""Rows of large arrays, by the batch: on the device where they fit, else read from the host."""

import tempfile

import numpy as np
import torch

SHARE_OF_MEMORY = 0.4  # of a GPU's free memory that an array may take
PIECE = 1 << 26  # bytes copied at a time


class Rows:
    """An array [N, ...] of which a training takes batches of rows.

    On a GPU that has room for it, the whole array lies there, in the types of ``read``; elsewhere
    each batch is read on the host and copied, to a GPU from pinned memory.

    Parameters
    ----------
    source : array, or what is indexed like one.
    read : from rows of the source to a tensor on the CPU.
    """

    def __init__(self, source, device: torch.device, read=torch.from_numpy):
        self.source, self.device, self.read, self.resident = source, device, read, None
        if device.type != "cuda":
            return
        first = read(source[:1])
        n_bytes = len(source) * first.nbytes
        if n_bytes > SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]:
            return
        shape = (len(source), *first.shape[1:])
        self.resident = torch.empty(shape, dtype=first.dtype, device=device)
        step = max(1, PIECE // max(1, first.nbytes))
        for start in range(0, len(source), step):
            self.resident[start : start + step] = read(source[start : start + step])

    def take(self, rows: np.ndarray, on_device: torch.Tensor | None = None) -> torch.Tensor:
        """Some rows, on the device; ``on_device``: the same numbers there, if they are."""
        if self.resident is not None:
            return self.resident[to_device(rows, self.device) if on_device is None else on_device]
        return to_device(self.read(self.source[rows]), self.device)


def to_device(values, device: torch.device) -> torch.Tensor:
    """A tensor or array on a device; the copy to a GPU does not wait for it."""
    values = torch.as_tensor(values)
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def scratch(shape) -> np.ndarray:
    """A float32 array in a temporary file that vanishes with it.

    The file is written whole beforehand: on a full disk this raises OSError, where storing into a
    mapped file without room would end the process by SIGBUS.
    """
    left = 4 * int(np.prod(shape, dtype=np.int64))
    with tempfile.TemporaryFile() as handle:
        zeros = bytes(min(left, PIECE))
        while left:
            left -= handle.write(zeros[: min(left, PIECE)])
        handle.flush()
        return np.memmap(handle, np.float32, "r+", shape=shape)
