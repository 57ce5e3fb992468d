"""One optimizer step, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from vqvae2.config import TrainingConfig
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = ["averaged_copy", "build_optimizer", "optimize"]


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
        is_last = len(outputs) == len(batches) - 1
        with nullcontext() if is_last else runtime.accelerator.no_sync(model):
            with runtime.autocast():
                output = task.step(model, batch, runtime.device)
            runtime.accelerator.backward(output.loss / len(batches))
        outputs.append(StepOutput(output.loss.detach(), {name: v.detach() for name, v in output.metrics.items()}))
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    loss = torch.stack([output.loss for output in outputs]).mean()
    metrics = {name: torch.stack([output.metrics[name] for output in outputs]).mean() for name in outputs[0].metrics}
    return StepOutput(loss, metrics | {"grad_norm": grad_norm})


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Copy a model into one whose weights follow it by an exponential moving average.

    Codebooks that move by averages of their own are copied as they are: averaged once more, a revived code would lie
    between its old place and its new one. The decay begins at about 0 and rises to `decay` over some
    `9 / (1 - decay)` steps, so that the first weights do not linger.
    """

    def average(averaged: PARAM_LIST, current: PARAM_LIST, num_averaged: Tensor | int) -> None:
        steps = float(num_averaged)  # counted on the CPU
        torch._foreach_lerp_(averaged, current, 1.0 - min(decay, (1.0 + steps) / (10.0 + steps)))

    return AveragedModel(model, multi_avg_fn=average, use_buffers=False)
