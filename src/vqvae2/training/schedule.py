"""What happens at which step: the learning rate, and validations."""

from __future__ import annotations

import math

from vqvae2.config import TrainingConfig

__all__ = ["learning_rate", "validation_steps"]


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
