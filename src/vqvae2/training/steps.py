"""The steps of a training: the items that each one reads, and what is remembered of them for the log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vqvae2.config import TrainingConfig
from vqvae2.data import ShuffledBatches, prefetched
from vqvae2.errors import ConfigError
from vqvae2.system.processes import num_processes, process_index, sum_over_processes
from vqvae2.training.task import NUM_CHANCES, StepOutput, Task

__all__ = ["BadStep", "LogWindow", "StepItems", "items_per_process", "load_steps", "seed_step"]

# Keys that separate these streams of random numbers from that of the order, whose key has two numbers.
_CHANCES, _STEP = 1, 2


class StepItems(NamedTuple):
    """The input of one step."""

    indices: list[int]
    """Numbers of the items, of all processes together."""
    batches: list[Any]
    """This process's items in `accumulation` parts, as the task loads them."""


def load_steps(
    task: Task, config: TrainingConfig, *, start_step: int = 0, num_steps: int = sys.maxsize, pin_memory: bool = False
) -> Iterator[StepItems]:
    """Load the items of the steps `start_step` to `num_steps`, a function of seed and step alone.

    A step has the same items, and each item the same chances, however many processes share them: the processes divide
    every part of a step in its order.

    Raises:
        ConfigError: If the processes cannot divide a part evenly.
    """
    # Asked here and not in the thread that reads: inside `first_decides`, the first process takes itself for alone.
    count, index = num_processes(), process_index()
    size = items_per_process(config, count)
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
            generator = np.random.default_rng((config.seed, step, _CHANCES))
            chances = torch.from_numpy(generator.random((len(indices), NUM_CHANCES), dtype=np.float32))
            starts = [(part * count + index) * size for part in range(config.accumulation)]
            batches = [task.load(indices[start : start + size], chances[start : start + size]) for start in starts]
            if pin_memory:  # so that a GPU copies tensors while the CPU works
                batches = tree_map(Tensor.pin_memory, batches)
            yield StepItems(indices, batches)

    return prefetched(read())


def items_per_process(config: TrainingConfig, num_processes: int, *, place: str = "") -> int:
    """Divide each part of a step among processes, and return how many items each gets.

    Raises:
        ConfigError: If they cannot divide it evenly; `place` comes before the name of the field.
    """
    size, rest = divmod(config.batch_size, config.accumulation * num_processes)
    if rest:
        raise ConfigError(
            f"`{place}batch_size` must be a multiple of `accumulation` ({config.accumulation}) times the number of "
            f"processes ({num_processes}), got {config.batch_size}; change one of the three"
        )
    return size


def seed_step(config: TrainingConfig, step: int) -> None:
    """Seed what the network itself draws in a step, such as dropout, by seed, step and process alone."""
    key = np.random.SeedSequence((config.seed, step, process_index(), _STEP))
    torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> np.uint64(1)))


class BadStep(NamedTuple):
    """A step whose loss or gradient is not finite."""

    step: int
    what: str
    value: float
    indices: list[int]
    """Of the step's items."""


class LogWindow:
    """The steps since the last line: their losses and metrics, items and times.

    Numbers stay on the device until `close` or `first_bad_step` reads them, so that no step waits for it.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._steps: list[tuple[int, list[int]]] = []
        self._outputs: list[StepOutput] = []
        self._start = time.perf_counter()
        self._data_seconds = 0.0

    def waiting(self, steps: Iterator[StepItems]) -> Iterator[StepItems]:
        """Pass the items of steps through, and measure how long each takes to arrive. The first window starts here."""
        self._clear()
        while True:
            start = time.perf_counter()
            items = next(steps, None)
            if items is None:
                return
            self._data_seconds += time.perf_counter() - start
            yield items

    def add(self, step: int, indices: list[int], output: StepOutput) -> None:
        """Keep the output of a step, and which items it had."""
        self._steps.append((step, indices))
        self._outputs.append(output)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time spent in this context."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def first_bad_step(self) -> BadStep | None:
        """Find the first step whose loss or gradient is not finite; None if all are."""
        if not self._outputs:
            return None
        losses = _mean_over_processes([output.loss for output in self._outputs])
        gradients = _mean_over_processes([output.metrics["grad_norm"] for output in self._outputs])
        for (step, indices), *values in zip(self._steps, losses.tolist(), gradients.tolist(), strict=True):
            for what, value in zip(("loss", "gradient"), values, strict=True):
                if not math.isfinite(value):
                    return BadStep(step, what, value, indices)
        return None

    def close(self) -> dict[str, float]:
        """Return the means of all metrics and the times of a step, and start a new window.

        `step_seconds` is the whole time of a step, `data_seconds` the part of it spent waiting for a batch.
        """
        names = ["loss", *self._outputs[0].metrics]
        columns = [[output.loss, *output.metrics.values()] for output in self._outputs]
        means = torch.stack([torch.stack([value.float() for value in column]) for column in columns]).mean(0)
        row: dict[str, float] = dict(zip(names, _mean_over_processes(list(means)).tolist(), strict=True))
        count, elapsed = len(self._steps), time.perf_counter() - self._start
        row |= {
            "images_per_second": sum(len(indices) for _, indices in self._steps) / elapsed,
            "step_seconds": elapsed / count,
            "data_seconds": self._data_seconds / count,
        }
        self._clear()
        return row


def _mean_over_processes(values: list[Tensor]) -> Tensor:
    """Average each scalar over all processes, which have equally many items; return them as one row."""
    row = torch.stack(values) / num_processes()
    sum_over_processes(row)
    return row
