"""Names the machine on which something is measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

__all__ = ["describe_machine"]


def describe_machine() -> str:
    """Give processor with its widest vectors, cores, GPU and torch in a line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    vectors = torch.backends.cpu.get_cpu_capability()
    processor, threads = f"{processor} ({vectors})", torch.get_num_threads()
    return f"{processor}, {os.cpu_count()} cores, {threads} threads{gpu}, torch {torch.__version__}"
