"""Devices, and what they compute fast."""

import torch


def default_device(device=None) -> torch.device:
    """The device asked for; else CUDA when there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def fast_bf16(device: torch.device) -> bool:
    """Whether the machine multiplies bf16 matrices faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16") or cpu.get("bf16"))
