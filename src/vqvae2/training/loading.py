"""Reads the items of each training step."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from vqvae2.config import TrainingConfig
from vqvae2.data import ShuffledBatches, prefetched
from vqvae2.training.task import Task

__all__ = ["StepItems", "load_steps"]


class StepItems(NamedTuple):
    """What one step is given."""

    indices: list[int]
    """Of the items."""
    batches: list[Any]
    """The items in `accumulation` parts, as the task loads them."""


def load_steps(
    task: Task, config: TrainingConfig, *, start_step: int = 0, num_steps: int, pin_memory: bool = False
) -> Iterator[StepItems]:
    """Load the items of the steps `start_step` to `num_steps`, a function of seed and step alone."""
    parts = ShuffledBatches(
        task.training_indices,
        batch_size=config.batch_size // config.accumulation,
        seed=config.seed,
        start_step=start_step * config.accumulation,
        num_steps=num_steps * config.accumulation,
        units=task.units,
    )
    loader: Iterable[tuple[list[int], Any]] = DataLoader(
        _Fetched(task),
        batch_sampler=parts,
        collate_fn=_identity,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # or the loader would draw from the generator that a checkpoint restores
    )
    loaded = prefetched(loader, depth=2 * config.accumulation)
    while group := list(itertools.islice(loaded, config.accumulation)):
        yield StepItems([index for indices, _ in group for index in indices], [batch for _, batch in group])


class _Fetched(Dataset[Any]):
    """Lets a `DataLoader` read a whole batch of a task at once, with the numbers of its items."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitems__(self, indices: list[int]) -> tuple[list[int], Any]:
        return indices, self._task.load(indices)


def _identity(batch: Any) -> Any:
    return batch
