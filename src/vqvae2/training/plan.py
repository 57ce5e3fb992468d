"""How many steps fit into a given time, on a machine whose speed may change on the way."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from vqvae2.config import TrainingConfig
from vqvae2.system.processes import any_process, first_decides
from vqvae2.training.optimization import Optimization
from vqvae2.training.steps import load_steps
from vqvae2.training.task import Runtime, Task

__all__ = ["Plan", "measure_step_seconds", "plan_steps"]

_FEWEST_STEPS = 20
_WARM_UP_STEPS = 2  # allocate memory and choose kernels, so they are slower
_FOR_CHECKPOINTS = 0.03  # share of the time
# What the latest steps say of the others: they are judged over this share of the time, or so many seconds.
_RECENT_SHARE, _RECENT_SECONDS = 0.08, 5.0
# Shares of the whole and of the remaining time by which the end may be off before the steps change.
_OF_WHOLE, _OF_REST = 0.05, 0.15


@dataclass(frozen=True)
class Plan:
    """The steps of a training that is to end in a given time."""

    seconds: float
    """Time for the whole training, without that for planning it."""
    steps: int
    validation_seconds: float
    """Of one validation."""

    def revised(self, rows: Sequence[Mapping[str, float]], *, seconds: float, num_validations: int) -> Plan:
        """Fit the remaining steps into the remaining time, if the training would end too early or too late.

        Args:
            rows: Of the log, up to the step that was taken last.
            seconds: Time since the training began, with validations and all else.
            num_validations: Validations still to come.
        """
        step_seconds = _recent_step_seconds(rows, max(_RECENT_SHARE * self.seconds, _RECENT_SECONDS))
        if step_seconds is None:
            return self
        step = int(rows[-1]["step"])
        left = (1.0 - _FOR_CHECKPOINTS) * (self.seconds - seconds) - num_validations * self.validation_seconds
        excess = (self.steps - step) * step_seconds - left
        if abs(excess) <= _OF_WHOLE * self.seconds + _OF_REST * max(0.0, left):
            return self
        return replace(self, steps=max(_FEWEST_STEPS, step + max(1, int(left / step_seconds))))


def _recent_step_seconds(rows: Sequence[Mapping[str, float]], enough_seconds: float) -> float | None:
    """Average the time of a step over the last so many seconds; None if there were fewer."""
    seconds = 0.0
    for index in reversed(range(len(rows))):
        first = rows[index - 1]["step"] if index else 0
        seconds += (rows[index]["step"] - first) * rows[index]["step_seconds"]
        if seconds >= enough_seconds:
            return seconds / (rows[-1]["step"] - first)
    return None


def plan_steps(task: Task, config: TrainingConfig, *, runtime: Runtime, seconds: float) -> Plan:
    """Time a few steps and a validation, and plan as many steps as fit into the seconds, at least 20."""
    trial_seconds = min(8.0, 0.05 * seconds)
    step_seconds = measure_step_seconds(task, config, runtime=runtime, budget_seconds=trial_seconds)
    model = task.model.to(runtime.device).eval()  # moved in inference mode, its buffers could not be trained with
    start = time.perf_counter()
    with torch.inference_mode():
        task.validate(model, runtime)
        task.measure_training(model, runtime)
    validation_seconds = time.perf_counter() - start
    left = (1.0 - _FOR_CHECKPOINTS) * (seconds - trial_seconds)
    epochs = left / step_seconds * config.batch_size / len(task.training_indices)
    left -= validation_seconds * (1 + min(config.max_validations, int(epochs)))
    steps = max(_FEWEST_STEPS, int(left / step_seconds))
    return first_decides(lambda: Plan(seconds - trial_seconds, steps, validation_seconds))


def measure_step_seconds(task: Task, config: TrainingConfig, *, runtime: Runtime, budget_seconds: float) -> float:
    """Time training steps on a copy of the model; return the median seconds of a step, without those that warm up.

    This takes about `budget_seconds`, and changes neither the model nor the random generators.
    """
    optimization = Optimization(task, copy.deepcopy(task.model), config, runtime, is_trial=True)
    times: list[float] = []
    device_type = runtime.device.type
    devices = [] if device_type == "cpu" else [runtime.device]
    with torch.random.fork_rng(devices=devices, device_type=device_type if devices else "cuda"):
        start = time.perf_counter()
        steps = load_steps(task, config)
        while len(times) <= _WARM_UP_STEPS + 1 or any_process(time.perf_counter() - start <= budget_seconds)[0]:
            begun = time.perf_counter()
            optimization.step(next(steps).batches)
            if runtime.device.type != "cpu":
                torch.accelerator.synchronize()
            times.append(time.perf_counter() - begun)
            runtime.adapt_threads()
    task.close_epoch()  # drops what the trial counted
    times = sorted(times[_WARM_UP_STEPS:])
    return first_decides(lambda: times[len(times) // 2])
