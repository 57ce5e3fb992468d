"""One optimizer step, and the moving average of the weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from vqvae2.config import TrainingConfig
from vqvae2.system.processes import num_processes, take_from_first
from vqvae2.training.sharding import local, shard, whole
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = ["Optimization", "averaged_copy", "build_optimizer", "optimize"]


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Make AdamW, which decays weights, but neither biases nor codebooks."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_weight = parameter.ndim >= 2 and name.rsplit(".", 1)[-1] != "codebook"
        (decayed if is_weight else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)


def optimize(
    task: Task,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Any],
    config: TrainingConfig,
    runtime: Runtime,
) -> StepOutput:
    """Take one step by the mean gradient of batches of equal size; their losses and metrics are averaged."""
    optimizer.zero_grad(set_to_none=True)
    outputs: list[StepOutput] = []
    for batch in batches:
        # Only the last backward pass of a step exchanges gradients between processes.
        with exchanging(model, runtime, is_on=len(outputs) == len(batches) - 1):
            with runtime.autocast():
                output = task.step(model, batch, runtime.device)
            runtime.accelerator.backward(output.loss / len(batches))
        outputs.append(StepOutput(output.loss.detach(), {name: v.detach() for name, v in output.metrics.items()}))
    grad_norm = whole(torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm))
    optimizer.step()
    loss = torch.stack([output.loss for output in outputs]).mean()
    metrics = {name: torch.stack([output.metrics[name] for output in outputs]).mean() for name in outputs[0].metrics}
    return StepOutput(loss, metrics | {"grad_norm": grad_norm})


class Optimization:
    """All that a step does to a model: gradients, AdamW, what its task does after it, the average of its weights.

    Args:
        task: Gives the loss.
        model: The task's model or a copy of it, on the runtime's device.
        config: How to train.
        runtime: Where.
        is_trial: A trial's model is neither compiled, divided nor handed to the accelerator, which would keep it.
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
        is_divided = runtime.shard and task.can_be_sharded and num_processes() > 1 and not is_trial
        if is_divided:
            for copied in (model, *([] if self.averaged is None else [self.averaged.module])):
                shard(copied)
        self.optimizer: torch.optim.Optimizer = build_optimizer(model, config)
        self._trained = model
        if not (is_trial or is_divided):
            compiled = torch.compile(model) if runtime.compile else model
            with warnings.catch_warnings():
                # The argument has another name in recent releases of torch, which accelerate does not know yet.
                warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
                self._trained, self.optimizer = runtime.accelerator.prepare(compiled, self.optimizer)

    @property
    def evaluated(self) -> nn.Module:
        """The model to validate and to save: the average, if there is one."""
        averaged: nn.Module = self.model if self.averaged is None else self.averaged.module
        return averaged

    def step(self, batches: Sequence[Any]) -> StepOutput:
        """Take one step by the parts of a batch."""
        self._trained.train()
        output = optimize(self._task, self._trained, self.optimizer, batches, self._config, self._runtime)
        self._task.after_step(self.model)
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        return output


def exchanging(model: nn.Module, runtime: Runtime, *, is_on: bool) -> AbstractContextManager[Any]:
    """Give a context whose backward pass exchanges gradients between processes, or keeps them for the next one."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_on)
        return nullcontext()
    return nullcontext() if is_on else runtime.accelerator.no_sync(model)


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Copy a model into one whose weights follow it by an exponential moving average.

    Codebooks that move by averages of their own are copied as they are: averaged once more, a revived code would lie
    between its old place and its new one. The decay begins at about 0 and rises to `decay` over some
    `9 / (1 - decay)` steps, so that the first weights do not linger.
    """

    def average(averaged: PARAM_LIST, current: PARAM_LIST, num_averaged: Tensor | int) -> None:
        steps = float(num_averaged)  # counted on the CPU
        ours, theirs = ([local(value) for value in values] for values in (averaged, current))
        torch._foreach_lerp_(ours, theirs, 1.0 - min(decay, (1.0 + steps) / (10.0 + steps)))

    return AveragedModel(model, multi_avg_fn=average, use_buffers=False)
