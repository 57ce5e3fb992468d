"""Reads the items of each training step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vqvae2.config import TrainingConfig
from vqvae2.data import ShuffledBatches, prefetched
from vqvae2.errors import ConfigError
from vqvae2.system.processes import num_processes, process_index
from vqvae2.training.task import NUM_CHANCES, Task

__all__ = ["StepItems", "load_steps", "seed_step"]

# Streams of random numbers beside that of the order, whose key has two numbers.
_CHANCES, _STEP = 1, 2
_READ_AHEAD = 2  # steps


class StepItems(NamedTuple):
    """What one step is given."""

    indices: list[int]
    """Of the items, in all processes together."""
    batches: list[Any]
    """This process's items in `accumulation` parts, as the task loads them."""


def load_steps(
    task: Task, config: TrainingConfig, *, start_step: int = 0, num_steps: int, pin_memory: bool = False
) -> Iterator[StepItems]:
    """Load the items of the steps `start_step` to `num_steps`, a function of seed and step alone.

    A step has the same items, and each the same chances, however many processes share them: every part of a step is
    divided among them in their order.

    Raises:
        ConfigError: If a part cannot be divided among the processes.
    """
    size, rest = divmod(config.batch_size, config.accumulation * num_processes())
    if rest:
        raise ConfigError(
            f"`batch_size` must be a multiple of `accumulation` ({config.accumulation}) times the number of processes "
            f"({num_processes()}), got {config.batch_size}; change one of the three"
        )
    order = ShuffledBatches(
        task.training_indices,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=start_step,
        num_steps=num_steps,
        units=task.units,
    )
    loader: DataLoader[StepItems] = DataLoader(
        _Steps(task, config.seed, config.accumulation, size),
        batch_sampler=_Numbered(order, start_step),
        collate_fn=_identity,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # or the loader would draw from the generator that a step's dropout draws from
    )
    return prefetched(loader, depth=_READ_AHEAD)


def seed_step(config: TrainingConfig, step: int) -> None:
    """Seed what a step draws in the network itself, such as dropout, by seed, step and process alone."""
    key = np.random.SeedSequence((config.seed, step, process_index(), _STEP))
    torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> np.uint64(1)))


class _Numbered:
    """Gives each step's indices with the step, to a loader that takes them for the numbers of a batch."""

    def __init__(self, order: ShuffledBatches, start_step: int) -> None:
        self._order, self._start_step = order, start_step

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Any]:
        return iter(enumerate(self._order, self._start_step))


class _Steps(Dataset[Any]):
    """Lets a `DataLoader` read all items of a step at once."""

    def __init__(self, task: Task, seed: int, num_parts: int, part_size: int) -> None:
        self._task, self._seed, self._num_parts, self._part_size = task, seed, num_parts, part_size

    def __getitems__(self, numbered: tuple[int, list[int]]) -> StepItems:
        step, indices = numbered
        chances = _chances(self._seed, step, len(indices))
        batches = []
        for part in range(self._num_parts):
            start = (part * num_processes() + process_index()) * self._part_size
            own = slice(start, start + self._part_size)
            batches.append(self._task.load(indices[own], chances[own]))
        return StepItems(indices, batches)


def _chances(seed: int, step: int, count: int) -> Tensor:
    """Draw what decides about the items of a step: float32 `(count, NUM_CHANCES)`."""
    drawn = np.random.default_rng((seed, step, _CHANCES)).random((count, NUM_CHANCES), dtype=np.float32)
    return torch.from_numpy(drawn)


def _identity(items: Any) -> Any:
    return items
