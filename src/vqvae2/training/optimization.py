"""One optimizer step, and the moving average of the weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from vqvae2.config import TrainingConfig
from vqvae2.system.processes import num_processes, take_from_first
from vqvae2.training.sharding import local, shard, whole
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = ["Optimization", "averaged_copy", "build_optimizer"]


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Build AdamW, which decays weights, but neither biases nor codebooks."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_weight = parameter.ndim >= 2 and name.rsplit(".", 1)[-1] != "codebook"
        (decayed if is_weight else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)


class Optimization:
    """Everything that a step changes in a model: AdamW's weights, what the task updates, the average of the weights.

    Args:
        task: Computes the loss.
        model: The task's model or a copy of it, on the runtime's device.
        config: How to train.
        runtime: Where to compute.
        is_trial: Do not compile, divide or prepare the model; the accelerator would keep it alive.
    """

    def __init__(
        self, task: Task, model: nn.Module, config: TrainingConfig, runtime: Runtime, *, is_trial: bool = False
    ) -> None:
        self._task, self._config, self._runtime = task, config, runtime
        self.model = model
        # Machines of different kinds draw initial weights that differ in their last bits.
        with torch.no_grad():
            take_from_first([*model.parameters(), *model.buffers()])
        self.averaged = averaged_copy(model, config.ema_decay) if config.ema_decay else None
        self._is_divided = runtime.shard and task.can_be_sharded and num_processes() > 1 and not is_trial
        if self._is_divided:
            for copied in (model, *([] if self.averaged is None else [self.averaged.module])):
                shard(copied)
        self.optimizer: torch.optim.Optimizer = build_optimizer(model, config)
        self._trained: Any = model
        if not (is_trial or self._is_divided):
            compiled = torch.compile(model) if runtime.compile else model
            with warnings.catch_warnings():
                # Recent releases of torch have another name for the argument, which accelerate does not know yet.
                warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
                self._trained, self.optimizer = runtime.accelerator.prepare(compiled, self.optimizer)

    @property
    def evaluated(self) -> nn.Module:
        """The model to validate and to save: the average, if there is one."""
        averaged: nn.Module = self.model if self.averaged is None else self.averaged.module
        return averaged

    def step(self, batches: Sequence[Any]) -> StepOutput:
        """Take one step by the mean gradient of batches of equal size, and return their mean loss and metrics."""
        self._trained.train()
        self.optimizer.zero_grad(set_to_none=True)
        # Gradients: they add up over the parts.
        outputs: list[StepOutput] = []
        for batch in batches:
            # Only the last backward pass of a step exchanges gradients between processes.
            with self._exchange(is_on=len(outputs) == len(batches) - 1):
                with self._runtime.autocast():
                    output = self._task.step(self._trained, batch, self._runtime.device)
                self._runtime.accelerator.backward(output.loss / len(batches))
            outputs.append(StepOutput(output.loss.detach(), {name: v.detach() for name, v in output.metrics.items()}))
        # Update: the weights, then what follows from them.
        grad_norm = whole(torch.nn.utils.clip_grad_norm_(self._trained.parameters(), self._config.max_grad_norm))
        self.optimizer.step()
        self._task.after_step(self.model)
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        # Report: scalars stay on the device, so that no step waits for it.
        loss = torch.stack([output.loss for output in outputs]).mean()
        names = outputs[0].metrics
        metrics = {name: torch.stack([output.metrics[name] for output in outputs]).mean() for name in names}
        return StepOutput(loss, metrics | {"grad_norm": grad_norm})

    def _exchange(self, *, is_on: bool) -> AbstractContextManager[Any]:
        """Return a context whose backward pass exchanges gradients between processes, or keeps them for the next."""
        if self._is_divided:
            self._trained.set_requires_gradient_sync(is_on)
            return nullcontext()
        return nullcontext() if is_on else self._runtime.accelerator.no_sync(self._trained)


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Copy a model into one whose weights follow it by an exponential moving average.

    Codebooks that already move by averages are copied as they are: averaged again, a revived code would lie between its
    old place and its new one. The decay starts near 0 and rises to `decay` over some `9 / (1 - decay)` steps, so that
    the first weights do not linger.
    """

    def average(averaged: PARAM_LIST, current: PARAM_LIST, num_averaged: Tensor | int) -> None:
        steps = float(num_averaged)  # counted on the CPU
        ours, theirs = ([local(value) for value in values] for values in (averaged, current))
        torch._foreach_lerp_(ours, theirs, 1.0 - min(decay, (1.0 + steps) / (10.0 + steps)))

    return AveragedModel(model, multi_avg_fn=average, use_buffers=False)
