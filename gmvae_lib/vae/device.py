"""Devices, and what they compute fast."""

import re
from contextlib import contextmanager

import torch

from gmvae_lib.errors import InputError


def default_device(device=None) -> torch.device:
    """The device asked for; else a CUDA device, else Apple's MPS, else the CPU."""
    if device is None:
        device = "cpu"
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
    return torch.device(device)


def usable(device) -> bool:
    """Whether torch can compute on a device of this name here; None is the default one.

    Examples
    --------
    >>> usable("cpu"), usable("abacus")
    (True, False)
    """
    try:
        return device is None or torch.ones(1, device=device).item() == 1
    except (RuntimeError, AssertionError, NotImplementedError):
        return False


def fast_bf16(device: torch.device) -> bool:
    """Whether the machine multiplies bf16 matrices faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16") or cpu.get("bf16"))


@contextmanager
def exact_convolutions():
    """Convolutions of float32 in float32 on a GPU, too, where they are in TF32 by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def room_for(what: str):
    """Turn a GPU without memory left into an InputError that says ``what`` and what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        size = re.search(r"Tried to allocate ([0-9.]+ \w+)", str(error))
        tried = f" (tried to allocate {size[1]})" if size else ""
        raise InputError(
            f"{what}, for which the GPU has no memory left{tried}; expected a smaller batch size, "
            "or device cpu"
        ) from None
