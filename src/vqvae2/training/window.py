"""What a training remembers between two lines of its log."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from vqvae2.system.processes import num_processes, sum_over_processes
from vqvae2.training.loading import StepItems
from vqvae2.training.task import StepOutput

__all__ = ["BadStep", "LogWindow"]


class BadStep(NamedTuple):
    """The first step whose loss or gradient is not finite."""

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
