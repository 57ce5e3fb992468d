"""What happens at which step of a training, and which share of a run's time each training gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from vqvae2.config import TrainingConfig

__all__ = ["TrainingShares", "learning_rate", "training_seconds", "training_shares", "validation_steps"]

# Shares of a run's time. The rest is for sampling, measuring and the report.
_TRAINING_SHARE = 0.9


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


def training_shares(num_levels: int, *, tokenizer: bool = True, sharp_decoder: bool = False) -> TrainingShares:
    """Divide a run's time: equally among tokenizer, priors together, and second decoder; lower levels get more."""
    share = _TRAINING_SHARE / (1 + tokenizer + sharp_decoder)
    weights = [1.0 + 0.5 * level for level in range(num_levels)]
    return TrainingShares(share, tuple(share * weight / sum(weights) for weight in weights), share)


def training_seconds(minutes: float, share: float, spent: Mapping[str, float]) -> float:
    """Return the seconds that a training with a share of `training_shares` gets of a run's minutes.

    `spent` holds the seconds of the stages that convert images or codes, which no schedule can shorten.
    """
    total = 60.0 * minutes
    # Where converting alone takes most of the budget, the run takes longer than asked, but still learns.
    return share * max(total - sum(spent.values()), 0.25 * total)
