"""The training states of a folder: the last few, each whole and checked, so that one of them can be gone on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqvae2.errors import CheckpointError
from vqvae2.models.checkpoint import load_training_state, save_training_state
from vqvae2.system.atomic import remove_leftovers

__all__ = ["STATES_FOLDER", "TrainingStates"]

STATES_FOLDER = "states"
"""Name of the folder in a training's own from which it goes on."""


class TrainingStates:
    """A folder of training states, named by their steps.

    Args:
        directory: Of the training; a folder in it holds the states.
        keep: How many states are kept; the older ones are for when the newest is damaged.
    """

    def __init__(self, directory: Path, *, keep: int = 2) -> None:
        self._directory = directory / STATES_FOLDER
        self._keep = keep

    def save(self, state: dict[str, Any], *, step: int) -> None:
        """Write a state, and then remove those that are not kept any more."""
        save_training_state(state, self._directory / f"{step:09d}.pt")
        for path in self._paths()[self._keep :]:
            path.unlink()

    def load(self, *, on_warning: Callable[[str], None] | None = None) -> dict[str, Any] | None:
        """Read the newest state that is whole; None if there has been none.

        Args:
            on_warning: Told, in a line, of each newer state that is not.

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
                    on_warning(f"{error}; going on from the one before")
        return None

    def clean(self) -> None:
        """Remove what a process that was killed while it wrote has left, here and beside it."""
        remove_leftovers(self._directory, "*.pt")
        remove_leftovers(self._directory.parent, "*.safetensors")
        remove_leftovers(self._directory.parent, "log.jsonl")

    def _paths(self) -> list[Path]:
        """All states, newest first."""
        return sorted(self._directory.glob("[0-9]*.pt"), reverse=True)
