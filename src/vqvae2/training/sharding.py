"""Models whose weights are divided among the processes, and the whole of what is divided.

With FSDP (Zhao et al. 2023), every process holds a part of each weight, its gradient, its average and its optimizer
state, and gathers the weights of one part of the network at a time. What is saved is whole all the same, and under the
parameters' names: a training can go on divided or not, by any number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

__all__ = [
    "load_optimizer_state",
    "load_weights",
    "local",
    "shard",
    "whole",
    "whole_optimizer_state",
    "whole_weights",
]


def shard(model: nn.Module) -> None:
    """Divide a model's weights among all processes, in place.

    The weights of each of its layers are gathered together, and those beside the layers for the whole pass.

    Args:
        model: On this process's device, the same in all processes. Its layers are the entries of its `ModuleList`s.
    """
    layers = [layer for child in model.children() if isinstance(child, nn.ModuleList) for layer in child]
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # channels-last weights cannot be divided
    for part in (*layers, model):
        fully_shard(part, reshard_after_forward=True)


def whole(value: Tensor) -> Tensor:
    """Give the whole of a tensor that may be divided; if it is, every process must call this."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def local(value: Tensor) -> Tensor:
    """Give this process's part of a tensor that may be divided."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Give the state of a model, whole; every process must call this."""
    return {name: whole(value.detach()) for name, value in model.state_dict().items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Take over what `whole_weights` gave."""
    own = model.state_dict()
    model.load_state_dict({name: _divided_like(own[name], value) for name, value in weights.items()})


def whole_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """Give what an optimizer knows of each parameter of a model, by its name; every process must call this."""
    return {
        name: {key: whole(value) for key, value in optimizer.state[parameter].items()}
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
    }


def load_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Take over what `whole_optimizer_state` gave."""
    for name, parameter in model.named_parameters():
        if name in state:
            own = parameter.detach()
            values = {key: _divided_like(own, value) for key, value in state[name].items() if key != "step"}
            # A fused optimizer counts its steps on the device.
            optimizer.state[parameter] = values | {"step": state[name]["step"].to(own.device, copy=True)}


def _divided_like(own: Tensor, value: Tensor) -> Tensor:
    if not isinstance(own, DTensor):
        return value.to(own.device, copy=True)
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
