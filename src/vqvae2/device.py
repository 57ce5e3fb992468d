"""Choose where to compute. Only the front door does this; everything below is told."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from vqvae2.config import Device, Precision
from vqvae2.errors import ConfigError
from vqvae2.training.task import Runtime

__all__ = ["choose_runtime"]


def choose_runtime(device: Device = "auto", precision: Precision = "auto") -> Runtime:
    """Pick the fastest device there is, and bfloat16 where it is faster than float32.

    Args:
        device: "auto" takes CUDA, then MPS, then the CPU.
        precision: "auto" takes bfloat16 on GPUs that have it, and on CPUs with instructions for it.

    Raises:
        ConfigError: If the device is not there.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    chosen = available[0] if device == "auto" else device
    if chosen not in available:
        raise ConfigError(f"`device` must be one that this machine has ({', '.join(available)}), got {device!r}")
    accelerator = Accelerator(cpu=chosen == "cpu")
    bfloat16 = precision == "bfloat16" or (precision == "auto" and _has_fast_bfloat16(chosen))
    return Runtime(accelerator, bfloat16)


def _has_fast_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        # Without such instructions, bfloat16 on a CPU is emulated, and many times slower.
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False
