"""One optimizer step, the moving average of the weights, and weights that are divided among processes.

With FSDP (Zhao et al. 2023), every process holds a part of each weight, its gradient, its average and its optimizer
state, and gathers the weights of one part of the network at a time. Saved states are whole, under the parameters'
names: a training resumes divided or not, with any number of processes.

`torch.distributed.tensor` and `fsdp` take half a second to import, so the functions that use them import them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from vqvae2.config import TrainingConfig
from vqvae2.system.cuda_graph import GraphedFunction
from vqvae2.system.processes import num_processes, take_from_first
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = [
    "AveragedModel",
    "Optimization",
    "build_optimizer",
    "load_optimizer_state",
    "load_weights",
    "whole_optimizer_state",
    "whole_weights",
]

_EAGER_STEPS = 3  # before a graph, during which a compiled model settles


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

    The model is the task's or a copy of it. A trial (`is_trial`) does not compile, divide or prepare it, since the
    accelerator would keep it alive.
    """

    def __init__(
        self, task: Task, model: nn.Module, config: TrainingConfig, runtime: Runtime, *, is_trial: bool = False
    ) -> None:
        self._task, self._config, self._runtime = task, config, runtime
        self.model = model
        model.to(runtime.device)
        # Machines of different kinds draw initial weights that differ in their last bits.
        with torch.no_grad():
            take_from_first([*model.parameters(), *model.buffers()])
        self.averaged = AveragedModel(model, config.ema_decay) if config.ema_decay else None
        self._is_divided = runtime.shard and task.can_be_sharded and num_processes() > 1 and not is_trial
        if self._is_divided:
            for copied in (model, *([] if self.averaged is None else [self.averaged.module])):
                _shard(copied)
        self.optimizer: torch.optim.Optimizer = build_optimizer(model, config)
        self._trained: Any = model
        if not (is_trial or self._is_divided):
            compiled = torch.compile(model) if runtime.compile else model
            with warnings.catch_warnings():
                # Recent releases of torch have another name for the argument, which accelerate does not know yet.
                warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
                self._trained, self.optimizer = runtime.accelerator.prepare(compiled, self.optimizer)
        # Several processes exchange gradients during the backward pass, which a graph cannot do.
        self._is_graphed = runtime.compile and runtime.device.type == "cuda" and num_processes() == 1 and not is_trial
        self._compute = _GraphedGradients(self._gradients) if self._is_graphed else self._gradients

    @property
    def evaluated(self) -> nn.Module:
        """The model to validate and to save: the average, if there is one."""
        return self.model if self.averaged is None else self.averaged.module

    def step(self, batches: Sequence[Any]) -> StepOutput:
        """Take one step by the mean gradient of batches of equal size, and return their mean loss and metrics."""
        self._trained.train()
        self.optimizer.zero_grad(set_to_none=not self._is_graphed)  # a graph writes them where they lie
        # Gradients: they add up over the parts.
        outputs: list[StepOutput] = []
        for batch in tree_map(lambda value: value.to(self._runtime.device, non_blocking=True), batches):
            # Only the last backward pass of a step exchanges gradients between processes.
            with self._exchange(is_on=len(outputs) == len(batches) - 1):
                outputs.append(self._compute(batch))
        # Update: the weights, then what follows from them.
        grad_norm = _whole(torch.nn.utils.clip_grad_norm_(self._trained.parameters(), self._config.max_grad_norm))
        self.optimizer.step()
        self._task.after_step(self.model)
        if self.averaged is not None:
            self.averaged.update(self.model)
        # Report: scalars stay on the device, so that no step waits for it.
        loss = torch.stack([output.loss for output in outputs]).mean()
        names = outputs[0].metrics
        metrics = {name: torch.stack([output.metrics[name] for output in outputs]).mean() for name in names}
        return StepOutput(loss, metrics | {"grad_norm": grad_norm})

    def _gradients(self, batch: Any) -> StepOutput:
        """Add the gradient of one part of a step, divided by the number of parts."""
        with self._runtime.autocast():
            output = self._task.step(self._trained, batch)
        self._runtime.accelerator.backward(output.loss / self._config.accumulation)
        return StepOutput(output.loss.detach(), {name: value.detach() for name, value in output.metrics.items()})

    def _exchange(self, *, is_on: bool) -> AbstractContextManager[Any]:
        """Return a context whose backward pass exchanges gradients between processes, or keeps them for the next."""
        if self._is_divided:
            self._trained.set_requires_gradient_sync(is_on)
            return nullcontext()
        return nullcontext() if is_on else self._runtime.accelerator.no_sync(self._trained)


class _GraphedGradients:
    """Computes gradients as one CUDA graph, for which every batch is copied to where the first one lies."""

    def __init__(self, compute: Callable[[Any], StepOutput]) -> None:
        self._batch: Any = None
        self._call = GraphedFunction(lambda: compute(self._batch), eager_calls=_EAGER_STEPS)

    def __call__(self, batch: Any) -> StepOutput:
        if self._batch is None:
            self._batch = batch
        tree_map(Tensor.copy_, self._batch, batch)
        output: StepOutput = tree_map(torch.clone, self._call())  # the next call overwrites its own
        return output


class AveragedModel:
    """A copy of a model whose weights follow it by an exponential moving average.

    Codebooks that already move by averages are copied as they are: averaged again, a revived code would lie between its
    old place and its new one. The decay starts near 0 and rises to `decay` over some `9 / (1 - decay)` steps, so that
    the first weights do not linger. torch's class of this name waits for a GPU in each update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module, self.num_updates, self._decay = copy.deepcopy(model), 0, decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follow the model's weights, and copy all else."""
        count = self.num_updates
        decay = min(self._decay, (1.0 + count) / (10.0 + count)) if count else 0.0
        ours, theirs = ([_local(value) for value in each.parameters()] for each in (self.module, model))
        torch._foreach_lerp_(ours, theirs, 1.0 - decay)
        for own, value in zip(self.module.buffers(), model.buffers(), strict=True):
            own.copy_(value)
        self.num_updates += 1


def _shard(model: nn.Module) -> None:
    """Divide the weights of a model, which is the same in all processes, among them, in place.

    FSDP gathers the weights of each layer together, and all other weights for the whole pass. Layers are the entries of
    the model's `ModuleList`s.
    """
    from torch.distributed.fsdp import fully_shard

    layers = [layer for child in model.children() if isinstance(child, nn.ModuleList) for layer in child]
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # channels-last weights cannot be divided
    for part in (*layers, model):
        fully_shard(part, reshard_after_forward=True)


def _whole(value: Tensor) -> Tensor:
    """Return the whole of a tensor; if it is divided, every process must call this."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def _local(value: Tensor) -> Tensor:
    """Return this process's part of a tensor that may be divided."""
    from torch.distributed.tensor import DTensor

    return value.to_local() if isinstance(value, DTensor) else value


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole state of a model; every process must call this."""
    return {name: _whole(value.detach()) for name, value in model.state_dict().items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load what `whole_weights` returned."""
    own = model.state_dict()
    model.load_state_dict({name: _divided_like(own[name], value) for name, value in weights.items()})


def whole_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """Return the whole optimizer state of each parameter, by its name; every process must call this."""
    return {
        name: {key: _whole(value) for key, value in optimizer.state[parameter].items()}
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
    }


def load_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Load what `whole_optimizer_state` returned."""
    for name, parameter in model.named_parameters():
        if name in state:
            own = parameter.detach()
            values = {key: _divided_like(own, value) for key, value in state[name].items() if key != "step"}
            # A fused optimizer counts its steps on the device.
            optimizer.state[parameter] = values | {"step": state[name]["step"].to(own.device, copy=True)}


def _divided_like(own: Tensor, value: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(own, DTensor):
        return value.to(own.device, copy=True)
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
