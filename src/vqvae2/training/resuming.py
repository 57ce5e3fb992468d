"""What a training needs beside weights to go on as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqvae2.checkpoint import load_training_state
from vqvae2.config import Config
from vqvae2.errors import CheckpointError

__all__ = [
    "TRAINING_STATE_FILE",
    "begun_steps",
    "plain_config",
    "random_state",
    "require_same_config",
    "set_random_state",
]

TRAINING_STATE_FILE = "training_state.pt"
"""Name of the file in a training's folder from which it goes on."""


def begun_steps(directory: Path) -> int | None:
    """Give the planned steps of the training that a folder holds; None if it holds none.

    Raises:
        CheckpointError: If its training state is damaged.
    """
    path = directory / TRAINING_STATE_FILE
    if not path.exists():
        return None
    steps: int = load_training_state(path)["training_config"]["steps"]
    return steps


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Copy the state of the random generators that a training on this device draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Go back to a state that `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type])


def plain_config(config: Config) -> dict[str, Any]:
    """Give a config as it comes back from a file: with lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return plain


def require_same_config(path: Path, saved: dict[str, Any], wanted: Config) -> None:
    """Refuse to go on with another config than the one saved in the training state at `path`.

    Raises:
        CheckpointError: Naming the first field that differs.
    """
    fields = plain_config(wanted)
    for name in sorted(saved.keys() | fields.keys()):
        if saved.get(name) != fields.get(name):
            raise CheckpointError(
                f"{path} belongs to a training with `{name}` = {saved.get(name)!r}, asked for {fields.get(name)!r}; "
                f"ask for the same, or delete {path.parent} to train it anew"
            )
