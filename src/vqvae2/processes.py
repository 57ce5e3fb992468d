"""What the processes of one training know of each other; alone, a process is the first of one."""

from __future__ import annotations

from torch import Tensor, distributed

__all__ = ["num_processes", "process_index", "sum_over_processes"]


def num_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_index() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if num_processes() > 1 else 0


def sum_over_processes(values: Tensor) -> None:
    """Add a tensor up over all processes, in place; each must call this."""
    if num_processes() > 1:
        distributed.all_reduce(values)
