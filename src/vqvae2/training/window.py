"""What a training remembers between two lines of its log."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from vqvae2.system.processes import num_processes, sum_over_processes
from vqvae2.training.task import StepOutput

__all__ = ["BadStep", "LogWindow"]

_Item = TypeVar("_Item")


class BadStep(NamedTuple):
    """The first step whose loss or gradient is not finite."""

    step: int
    what: str
    value: float
    indices: list[int]
    """Of the step's items."""


class LogWindow:
    """The steps since the last line: their losses and metrics, items and times.

    Numbers stay on the device until `close` or `first_bad_step` asks for them, so that no step waits for it.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._steps: list[int] = []
        self._indices: list[list[int]] = []
        self._outputs: list[StepOutput] = []
        self._start = time.perf_counter()
        self._data_seconds = 0.0

    def waiting(self, batches: Iterable[_Item]) -> Iterator[_Item]:
        """Pass batches through, and count the time that each took to arrive."""
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._data_seconds += time.perf_counter() - start
            yield batch

    def add(self, step: int, indices: list[int], output: StepOutput) -> None:
        """Keep what a step gave, and which items it was given."""
        self._steps.append(step)
        self._indices.append(indices)
        self._outputs.append(output)

    def leave_out(self, seconds: float) -> None:
        """Do not count time that was spent on something else than steps."""
        self._start += seconds

    def first_bad_step(self) -> BadStep | None:
        """Find the first step that was not finite, if there is one."""
        if not self._outputs:
            return None
        signals = {
            "loss": _mean_over_processes([output.loss for output in self._outputs]).tolist(),
            "gradient": _mean_over_processes([output.metrics["grad_norm"] for output in self._outputs]).tolist(),
        }
        for position, step in enumerate(self._steps):
            for what, values in signals.items():
                if not math.isfinite(values[position]):
                    return BadStep(step, what, values[position], self._indices[position])
        return None

    def close(self) -> dict[str, float]:
        """Give the means of all metrics, and the times, and start anew.

        `step_seconds` is the whole time of a step, `data_seconds` the part of it that was spent waiting for a batch.
        """
        names = ["loss", *self._outputs[0].metrics]
        columns = [[output.loss, *output.metrics.values()] for output in self._outputs]
        means = torch.stack([torch.stack([value.float() for value in column]) for column in columns]).mean(0)
        row: dict[str, float] = dict(zip(names, _mean_over_processes(list(means)).tolist(), strict=True))
        count, elapsed = len(self._steps), time.perf_counter() - self._start
        row |= {
            "images_per_second": sum(len(indices) for indices in self._indices) / elapsed,
            "step_seconds": elapsed / count,
            "data_seconds": self._data_seconds / count,
        }
        self._clear()
        return row


def _mean_over_processes(values: list[Tensor]) -> Tensor:
    """Put scalars into a row, and average each over all processes, which have as many items."""
    row = torch.stack(values) / num_processes()
    sum_over_processes(row)
    return row
