"""What happens at which step, and how many steps fit into a time budget."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import torch

from vqvae2.config import TrainingConfig
from vqvae2.system.processes import any_process, first_decides
from vqvae2.training.optimization import Optimization
from vqvae2.training.steps import load_steps
from vqvae2.training.task import Runtime, Task

__all__ = [
    "TrainingShares",
    "learning_rate",
    "measure_step_seconds",
    "steps_that_fit",
    "training_seconds",
    "training_shares",
    "validation_steps",
]

# Shares of a run's time. The rest is for sampling, measuring and the report.
_TRAINING_SHARE = 0.9
_FEWEST_STEPS = 20
_WARM_UP_STEPS = 2  # allocate memory and choose kernels, so they are slower


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate of a 0-based step: a linear rise, then half a cosine to zero, or a constant."""
    warmup = max(1, round(config.warmup_fraction * config.steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    fraction = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * fraction))


def validation_steps(config: TrainingConfig, *, num_items: int) -> set[int]:
    """Choose the steps after which to validate: at most `max_validations` ends of epochs, and the last step."""
    epochs = config.steps * config.batch_size / num_items
    between = max(1, math.ceil(epochs / config.max_validations))  # epochs from one validation to the next
    ends = (math.ceil(epoch * num_items / config.batch_size) for epoch in range(between, int(epochs) + 1, between))
    return {step for step in ends if step <= config.steps} | {config.steps}


class TrainingShares(NamedTuple):
    """The shares of a run's time that its trainings get."""

    tokenizer: float
    priors: tuple[float, ...]
    """Top first."""
    decoder: float
    """Of a second decoder: as much as the tokenizer, also if the run does not plan to train one."""


def training_shares(num_levels: int, *, sharp_decoder: bool = False) -> TrainingShares:
    """Divide a run's time: equally among tokenizer, priors together, and second decoder; lower levels get more."""
    share = _TRAINING_SHARE / (3 if sharp_decoder else 2)
    weights = [1.0 + 0.5 * level for level in range(num_levels)]
    return TrainingShares(share, tuple(share * weight / sum(weights) for weight in weights), share)


def training_seconds(minutes: float, share: float, spent: Mapping[str, float]) -> float:
    """Return the seconds that a training with a share of `training_shares` gets of a run's minutes.

    `spent` holds the seconds of the stages that convert images or codes, which no schedule can shorten.
    """
    total = 60.0 * minutes
    # Where converting alone takes most of the budget, the run takes longer than asked, but still learns.
    return share * max(total - sum(spent.values()), 0.25 * total)


def steps_that_fit(task: Task, training: TrainingConfig, *, runtime: Runtime, seconds: float) -> int:
    """Time a few steps and a validation, and return how many steps fit into the seconds, at least 20."""
    trial_seconds = min(8.0, 0.05 * seconds)
    step_seconds = measure_step_seconds(task, training, runtime=runtime, budget_seconds=trial_seconds)
    model = task.model.to(runtime.device).eval()  # moved in inference mode, its buffers could not be trained with
    start = time.perf_counter()
    with torch.inference_mode():
        task.validate(model, runtime)
        task.measure_training(model, runtime)
    validation_seconds = time.perf_counter() - start
    left = 0.97 * (seconds - trial_seconds)  # the rest is for checkpoints
    epochs = left / step_seconds * training.batch_size / len(task.training_indices)
    left -= validation_seconds * (1 + min(training.max_validations, int(epochs)))
    return first_decides(lambda: max(_FEWEST_STEPS, int(left / step_seconds)))


def measure_step_seconds(task: Task, config: TrainingConfig, *, runtime: Runtime, budget_seconds: float) -> float:
    """Time training steps on a copy of the model; return the median seconds of a step, without those that warm up.

    This takes about `budget_seconds`, and changes neither the model nor the random generators.
    """
    model = copy.deepcopy(task.model).to(runtime.device)
    optimization = Optimization(task, model, config, runtime, is_trial=True)
    times: list[float] = []
    device_type = runtime.device.type
    devices = [] if device_type == "cpu" else [runtime.device]
    with torch.random.fork_rng(devices=devices, device_type=device_type if devices else "cuda"):
        start = time.perf_counter()
        steps = load_steps(task, config, num_steps=1_000_000)  # more than any budget has time for
        while len(times) <= _WARM_UP_STEPS + 1 or any_process(time.perf_counter() - start <= budget_seconds)[0]:
            begun = time.perf_counter()
            optimization.step(next(steps).batches)
            if runtime.device.type != "cpu":
                torch.accelerator.synchronize()
            times.append(time.perf_counter() - begun)
    task.close_epoch()  # drops what the trial counted
    times = sorted(times[_WARM_UP_STEPS:])
    return first_decides(lambda: times[len(times) // 2])
