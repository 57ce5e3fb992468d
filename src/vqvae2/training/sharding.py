"""Models whose weights are divided among processes, and how to save and load them whole.

With FSDP (Zhao et al. 2023), every process holds a part of each weight, its gradient, its average and its optimizer
state, and gathers the weights of one part of the network at a time. Saved states are whole, under the parameters'
names: a training resumes divided or not, with any number of processes.

`torch.distributed.tensor` and `fsdp` take half a second to import, so the functions that use them import them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

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

    FSDP gathers the weights of each layer together, and all other weights for the whole pass.

    Args:
        model: On this process's device, the same in all processes. Its layers are the entries of its `ModuleList`s.
    """
    from torch.distributed.fsdp import fully_shard

    layers = [layer for child in model.children() if isinstance(child, nn.ModuleList) for layer in child]
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # channels-last weights cannot be divided
    for part in (*layers, model):
        fully_shard(part, reshard_after_forward=True)


def whole(value: Tensor) -> Tensor:
    """Return the whole of a tensor that may be divided; if it is, every process must call this."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def local(value: Tensor) -> Tensor:
    """Return this process's part of a tensor that may be divided."""
    from torch.distributed.tensor import DTensor

    return value.to_local() if isinstance(value, DTensor) else value


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole state of a model; every process must call this."""
    return {name: whole(value.detach()) for name, value in model.state_dict().items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load what `whole_weights` returned."""
    own = model.state_dict()
    model.load_state_dict({name: _divided_like(own[name], value) for name, value in weights.items()})


def whole_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """Return the whole optimizer state of each parameter, by its name; every process must call this."""
    return {
        name: {key: whole(value) for key, value in optimizer.state[parameter].items()}
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
