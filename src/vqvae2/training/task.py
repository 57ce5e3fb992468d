"""What a training is made of: where it runs, what differs between trainings, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vqvae2.data import ReadingUnits
from vqvae2.system.stopping import StopRequest

__all__ = ["NUM_CHANCES", "FitResult", "Runtime", "StepOutput", "Task"]

NUM_CHANCES = 3
"""Random numbers that come with each item of a training."""


@dataclass(frozen=True)
class Runtime:
    """Where and in which precision to compute; chosen by the front door, never below it."""

    accelerator: Accelerator
    bfloat16: bool = False
    """Whether products and convolutions run in bfloat16. Weights and quantizers stay float32."""
    compile: bool = False
    """Whether training steps run through `torch.compile`."""
    shard: bool = False
    """Whether several processes divide the weights of those models that can be divided, see `training.sharding`."""
    stop: StopRequest = field(default_factory=StopRequest)
    """Asked after each step of a training."""

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


class StepOutput(NamedTuple):
    """The loss of a batch, and what else to log, as scalars on the device."""

    loss: Tensor
    metrics: dict[str, Tensor]


class Task(Protocol):
    """What differs between trainings."""

    metadata: dict[str, Any]
    """Goes into the saved model."""
    can_be_sharded: bool
    """Whether the model's weights can be divided among processes, see `training.sharding`."""

    @property
    def model(self) -> nn.Module:
        """The model to train; it has a `config`."""
        ...

    @property
    def training_indices(self) -> np.ndarray:
        """Numbers of the training items, int64."""
        ...

    @property
    def units(self) -> ReadingUnits | None:
        """Which items are best read together; None if any order is as good."""
        ...

    def load(self, indices: list[int], chances: Tensor) -> Any:
        """Read a batch from the data set, as tensors on the CPU.

        Args:
            indices: Numbers of the items.
            chances: float32 `(B, NUM_CHANCES)`, uniform in [0, 1): what is random about an item is decided by these,
                which are the same however many processes train.
        """
        ...

    def names(self, indices: list[int]) -> list[str]:
        """Name the files that items come from."""
        ...

    def step(self, model: nn.Module, batch: Any, device: torch.device) -> StepOutput:
        """Compute the loss of a batch."""
        ...

    def after_step(self, model: nn.Module) -> None:
        """Do to the model what follows each optimizer step."""
        ...

    def close_epoch(self) -> dict[str, float]:
        """Give what was counted over all steps since the last call."""
        ...

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure a model, in evaluation mode, on validation data; `score` is what has to be small."""
        ...

    def measure_training(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure it in the same way on training data, to show the gap; empty where the loss does that."""
        ...


@dataclass(frozen=True)
class FitResult:
    """How a training ended. The saved model is the best one, not the last."""

    best_step: int
    last_step: int
    planned_steps: int
    validation: dict[str, float]
    """The measurements of the best step."""
    seconds: float
    """Time spent training, over all sessions."""

    @property
    def stopped_early(self) -> bool:
        """Whether the training ended before its planned steps, for want of a better validation."""
        return self.last_step < self.planned_steps
