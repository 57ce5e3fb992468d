"""Training states: the last few of a folder, each checked, so that a training can resume from one of them.

A state is torch's own file, read with `weights_only=True`; it belongs to one run and is never shared.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vqvae2.config import Config, TrainingConfig, require_same_config
from vqvae2.errors import CheckpointError
from vqvae2.models.checkpoint import require_same_order
from vqvae2.system.files import atomic_write_bytes, remove_leftovers

__all__ = [
    "MAY_CHANGE",
    "STATES_FOLDER",
    "TrainingStates",
    "load_training_state",
    "require_same_training",
    "save_training_state",
]

STATES_FOLDER = "states"
"""Name of the folder of states in the folder of a training."""

MAY_CHANGE = ("checkpoint_seconds", "keep_checkpoints")
"""Fields of the config that may differ when a training resumes."""


class TrainingStates:
    """A folder of states, named by their steps, in the folder of a training.

    It keeps `keep` states. The older ones are for when the newest is damaged.
    """

    def __init__(self, directory: Path, *, keep: int = 2) -> None:
        self._directory = directory / STATES_FOLDER
        self._keep = keep

    def save(self, state: Mapping[str, Any], *, step: int) -> None:
        """Write a state, then remove those that are no longer kept."""
        save_training_state(dict(state), self._directory / f"{step:09d}.pt")
        for path in self._paths()[self._keep :]:
            path.unlink()

    def load(self, *, on_warning: Callable[[str], None] | None = None) -> dict[str, Any] | None:
        """Read the newest state that is whole; None if there is no state. Warn of each newer one that is damaged.

        Raises:
            CheckpointError: If there are states, but all are damaged.
        """
        paths = self._paths()
        for path in paths:
            try:
                return load_training_state(path)
            except CheckpointError as error:
                if path == paths[-1]:
                    raise
                if on_warning is not None:
                    on_warning(f"{error}; resuming from the one before")
        return None

    def planned_steps(self) -> int | None:
        """Read how many steps the training was begun for; None if there is no state. Raises as `load` does."""
        state = self.load()
        return None if state is None else int(state["training_config"]["steps"])

    def clean(self) -> None:
        """Remove what a process that was killed while writing has left, here and in the training's folder."""
        remove_leftovers(self._directory, "*.pt")
        remove_leftovers(self._directory.parent, "*.safetensors")
        remove_leftovers(self._directory.parent, "log.jsonl")

    def _paths(self) -> list[Path]:
        """List all states, newest first."""
        return sorted(self._directory.glob("[0-9]*.pt"), reverse=True)


def require_same_training(
    directory: Path,
    state: Mapping[str, Any],
    training: TrainingConfig,
    model: Config,
    *,
    may_change: Sequence[str] = (),
) -> None:
    """Check that a state in a directory is of a training of these configs, of which some fields `may_change`.

    Raises:
        OutputError: If it is not.
    """
    began_with = type(training)().to_dict() | state["training_config"]  # which may lack fields that came later
    place, remedy = f"{directory} holds a training", "or delete the folder to train it anew"
    for saved, wanted in ((began_with, training), (state["model_config"], model)):
        require_same_config(place, saved, wanted, may_change=(*MAY_CHANGE, *may_change), remedy=remedy)
    require_same_order(directory, state.get("model_version", 2), model)


def save_training_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state with a checksum of each part; the file appears whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, buffer.getvalue())


def load_training_state(path: Path) -> dict[str, Any]:
    """Read what `save_training_state` wrote, without running code that the file may hold.

    Raises:
        CheckpointError: If the file is damaged, or holds more than tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Refuse damage, which torch does not look for, and parts that would unpack to more than the file.
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise ValueError("its parts must not be compressed")
            if sum(part.file_size for part in parts) > path.stat().st_size:
                raise ValueError("its parts must not overlap")
            if archive.testzip() is not None:
                raise ValueError("a part does not match its checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises errors of any kind on damage
        raise CheckpointError(
            f"{path} is not a readable training state; delete {path.parent} to train this stage from the start"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} must hold a training state, but holds a {type(state).__name__}")
    return state
