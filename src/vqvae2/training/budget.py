"""From a time budget to a number of steps."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from vqvae2.config import TrainingConfig
from vqvae2.system.processes import first_decides
from vqvae2.training.loop import measure_step_seconds
from vqvae2.training.task import Runtime, Task

__all__ = ["steps_that_fit", "training_seconds", "training_shares"]

# What the trainings leave is for sampling, measuring and the report.
_TOKENIZER_SHARE, _PRIORS_SHARE = 0.45, 0.45
_FEWEST_STEPS = 20


def training_shares(num_levels: int) -> tuple[float, tuple[float, ...]]:
    """Divide a run's time: the tokenizer's share, and each prior's, top first; lower levels have more codes."""
    weights = [1.0 + 0.5 * level for level in range(num_levels)]
    return _TOKENIZER_SHARE, tuple(_PRIORS_SHARE * weight / sum(weights) for weight in weights)


def training_seconds(minutes: float, share: float, spent: Mapping[str, float]) -> float:
    """Give a training its seconds of a run's minutes.

    Args:
        minutes: Of the whole run.
        share: The training's, from `training_shares`.
        spent: Seconds of the stages that convert images or codes, which no schedule can shorten.
    """
    total = 60.0 * minutes
    # Where converting alone takes most of the budget, the run becomes longer than asked, but still learns.
    return share * max(total - sum(spent.values()), 0.25 * total)


def steps_that_fit(task: Task, training: TrainingConfig, *, runtime: Runtime, seconds: float) -> int:
    """Time a few steps of a training, and a validation, and say how many steps fit into the seconds, at least 20."""
    trial_seconds = min(8.0, 0.05 * seconds)
    step_seconds = measure_step_seconds(task, training, runtime=runtime, budget_seconds=trial_seconds)
    start = time.perf_counter()
    with torch.inference_mode():
        model = task.model.to(runtime.device).eval()
        task.validate(model, runtime)
        task.measure_training(model, runtime)
    validation_seconds = time.perf_counter() - start
    left = seconds - trial_seconds - validation_seconds * (1 + training.max_validations)
    # A little is kept back for checkpoints.
    return first_decides(lambda: max(_FEWEST_STEPS, int(0.97 * left / step_seconds)))
