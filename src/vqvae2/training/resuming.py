"""What a training needs beside weights to go on as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vqvae2.config import Config
from vqvae2.errors import CheckpointError
from vqvae2.training.states import TrainingStates

__all__ = ["begun_steps", "plain_config", "require_same_config"]

_FREE_FIELDS = ("checkpoint_seconds", "keep_checkpoints")


def begun_steps(directory: Path) -> int | None:
    """Give the planned steps of the training that a folder holds; None if it holds none.

    Raises:
        CheckpointError: If its training state is damaged.
    """
    state = TrainingStates(directory).load()
    return None if state is None else int(state["training_config"]["steps"])


def plain_config(config: Config) -> dict[str, Any]:
    """Give a config as it comes back from a file: with lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return plain


def require_same_config(directory: Path, saved: dict[str, Any], wanted: Config) -> None:
    """Refuse to go on in a folder with another config than the one saved in its training state.

    What only says when and how many states are written may change.

    Raises:
        CheckpointError: Naming the first field that differs.
    """
    fields = plain_config(wanted)
    for name in sorted(saved.keys() | fields.keys()):
        if name not in _FREE_FIELDS and saved.get(name) != fields.get(name):
            raise CheckpointError(
                f"{directory} holds a training with `{name}` = {saved.get(name)!r}, asked for {fields.get(name)!r}; "
                "ask for the same, or delete the folder to train it anew"
            )
