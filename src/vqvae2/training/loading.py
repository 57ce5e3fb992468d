"""Read the items of each training step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqvae2.config import TrainingConfig
from vqvae2.data import ShuffledBatches, prefetched
from vqvae2.errors import ConfigError
from vqvae2.system.processes import num_processes, process_index
from vqvae2.training.task import NUM_CHANCES, Task

__all__ = ["StepItems", "load_steps", "seed_step"]

# Keys that separate these streams of random numbers from that of the order, whose key has two numbers.
_CHANCES, _STEP = 1, 2
_READ_AHEAD = 2  # steps


class StepItems(NamedTuple):
    """The input of one step."""

    indices: list[int]
    """Numbers of the items, of all processes together."""
    batches: list[Any]
    """This process's items in `accumulation` parts, as the task loads them."""


def load_steps(
    task: Task, config: TrainingConfig, *, start_step: int = 0, num_steps: int, pin_memory: bool = False
) -> Iterator[StepItems]:
    """Load the items of the steps `start_step` to `num_steps`, a function of seed and step alone.

    A step has the same items, and each item the same chances, however many processes share them: the processes divide
    every part of a step in its order.

    Raises:
        ConfigError: If the processes cannot divide a part evenly.
    """
    # Asked here and not in the thread that reads: inside `first_decides`, the first process takes itself for alone.
    count, index = num_processes(), process_index()
    size, rest = divmod(config.batch_size, config.accumulation * count)
    if rest:
        raise ConfigError(
            f"`batch_size` must be a multiple of `accumulation` ({config.accumulation}) times the number of processes "
            f"({count}), got {config.batch_size}; change one of the three"
        )
    order = ShuffledBatches(
        task.training_indices,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=start_step,
        num_steps=num_steps,
        units=task.units,
    )

    def read() -> Iterator[StepItems]:
        for step, indices in enumerate(order, start_step):
            chances = _chances(config.seed, step, len(indices))
            starts = [(part * count + index) * size for part in range(config.accumulation)]
            batches = [task.load(indices[start : start + size], chances[start : start + size]) for start in starts]
            yield StepItems(indices, [_pinned(batch) for batch in batches] if pin_memory else batches)

    return prefetched(read(), depth=_READ_AHEAD)


def seed_step(config: TrainingConfig, step: int) -> None:
    """Seed what the network itself draws in a step, such as dropout, by seed, step and process alone."""
    key = np.random.SeedSequence((config.seed, step, process_index(), _STEP))
    torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _chances(seed: int, step: int, count: int) -> Tensor:
    """Draw the numbers that decide about the items of a step: float32 `(count, NUM_CHANCES)`."""
    drawn = np.random.default_rng((seed, step, _CHANCES)).random((count, NUM_CHANCES), dtype=np.float32)
    return torch.from_numpy(drawn)


def _pinned(batch: Any) -> Any:
    """Pin a batch's tensors in memory, so that a GPU copies them while the CPU works."""
    return type(batch)(*(value.pin_memory() if isinstance(value, Tensor) else value for value in batch))
