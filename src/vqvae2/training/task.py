"""What a training is made of: where it runs, what differs between trainings, and what it reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vqvae2.data import ReadingUnits
from vqvae2.system.stopping import StopRequest
from vqvae2.system.threads import ThreadChoice
from vqvae2.training.tracking import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator  # its import takes a second

__all__ = ["NUM_CHANCES", "FitResult", "Runtime", "StepOutput", "Task"]

NUM_CHANCES = 3
"""Random numbers that come with each training item."""


@dataclass(frozen=True)
class Runtime:
    """Where and in which precision to compute; see `choose_runtime`."""

    accelerator: Accelerator
    tracker: Tracker
    """Told what trainings measure."""
    bfloat16: bool = False
    """Run products and convolutions in bfloat16. Weights and quantizers stay float32."""
    compile: bool = False
    """Run training steps through `torch.compile`, and on a CUDA device as one graph."""
    shard: bool = False
    """Divide the weights of models that allow it among the processes, see `training.optimization`."""
    stop: StopRequest = field(default_factory=StopRequest)
    """Asked after each training step."""
    threads: ThreadChoice = field(default_factory=ThreadChoice)
    """Chooses the threads of the CPU, see `adapt_threads`."""

    @property
    def device(self) -> torch.device:
        device = self.accelerator.device
        # Where several processes compute on CPUs, accelerate says "cpu:0", to which torch would copy what lies there.
        return torch.device("cpu") if device.type == "cpu" else device

    def adapt_threads(self) -> bool:
        """Where the CPU computes, leave cores to other processes that are busy; return whether the threads changed."""
        return self.device.type == "cpu" and self.threads.adapt()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


class StepOutput(NamedTuple):
    """The loss of a batch and the other values to log, as scalars on the device."""

    loss: Tensor
    metrics: dict[str, Tensor]


class Task(ABC):
    """What differs between trainings."""

    model: nn.Module
    """The model to train; it has a `config`."""
    metadata: Mapping[str, Any]
    """Goes into the saved model."""
    training_indices: np.ndarray
    """Numbers of the training items, int64."""
    names: Sequence[str]
    """The file of every item, by its number."""
    units: ReadingUnits | None = None
    """Which items are best read together; None if any order is as good."""
    keeps_last: bool = False
    """Whether the last model is the result; otherwise it is the one with the best score."""
    can_be_sharded: bool = False
    """Whether the model's weights can be divided among processes, see `training.optimization`."""

    @abstractmethod
    def load(self, indices: list[int], chances: Tensor) -> Any:
        """Read a batch from the data set: a NamedTuple of CPU tensors.

        The chances, float32 `(B, NUM_CHANCES)`, uniform in [0, 1), decide everything random about an item, and are the
        same however many processes train.
        """

    @abstractmethod
    def step(self, model: nn.Module, batch: Any) -> StepOutput:
        """Compute the loss of a batch that lies on the device of the model."""

    def after_step(self, model: nn.Module) -> None:  # noqa: B027 (most models need nothing)
        """Update what the optimizer does not, after each of its steps."""

    def result(self, model: nn.Module) -> nn.Module:
        """Return the part of a trained model that is saved as the result."""
        return model

    def close_epoch(self) -> dict[str, float]:
        """Return what was counted over all steps since the last call."""
        return {}

    @abstractmethod
    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure a model in evaluation mode on validation data. The lowest `score` is the best."""

    def measure_training(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure the model in the same way on training data; empty where the loss shows the same."""
        return {}

    def pictures(self, model: nn.Module, runtime: Runtime) -> Mapping[str, Sequence[Tensor]]:
        """Return pictures for `Tracker.show`, by a model in evaluation mode."""
        return {}


@dataclass(frozen=True)
class FitResult:
    """How a training ended. The saved model is that of the best step, which is the last where the task keeps it."""

    best_step: int
    last_step: int
    planned_steps: int
    validation: dict[str, float]
    """The measurements of the best step."""
    seconds: float
    """Time spent training, over all sessions."""

    @property
    def stopped_early(self) -> bool:
        """Whether the training ended before its planned steps, because validation did not improve."""
        return self.last_step < self.planned_steps
