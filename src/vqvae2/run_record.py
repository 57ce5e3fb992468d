"""What a run remembers about itself: `run.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqvae2.atomic import atomic_write_bytes
from vqvae2.errors import CheckpointError
from vqvae2.presets import RunConfig

__all__ = ["RunRecord"]

_FILE = "run.json"
_MAGIC, _VERSION = "vqvae2.run", 1


@dataclass
class RunRecord:
    """The config of a run, and what was decided and measured on the way."""

    config: RunConfig
    steps: dict[str, int] = field(default_factory=dict)
    """Optimizer steps of each training, once they are decided."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time that each finished stage took."""

    @staticmethod
    def exists_in(directory: Path) -> bool:
        return (directory / _FILE).exists()

    @classmethod
    def load(cls, directory: Path) -> RunRecord:
        """Read the record of a run's folder.

        Raises:
            CheckpointError: If the folder has none, or it is damaged.
        """
        path = directory / _FILE
        try:
            values = json.loads(path.read_text())
            if values["magic"] != _MAGIC or values["version"] != _VERSION:
                raise CheckpointError(f"{path} is of another format: {values['magic']!r} {values['version']!r}")
            return cls(RunConfig.from_dict(values["config"]), dict(values["steps"]), dict(values["seconds"]))
        except FileNotFoundError as error:
            raise CheckpointError(f"{directory} is not the folder of a run: it has no {_FILE}") from error
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is not readable ({error}); restore it from a copy") from error

    def save(self, directory: Path) -> None:
        """Write the record into a run's folder."""
        values = {
            "magic": _MAGIC,
            "version": _VERSION,
            "config": self.config.to_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        atomic_write_bytes(directory / _FILE, json.dumps(values, indent=2).encode())

    def difference_from(self, config: RunConfig) -> str | None:
        """Name the first field in which a config differs from the record's, with both values; None if none does."""
        return _first_difference(self.config.to_dict(), config.to_dict(), prefix="")


def _first_difference(old: dict[str, Any], new: dict[str, Any], *, prefix: str) -> str | None:
    for name, before in old.items():
        after = new[name]
        if isinstance(before, dict):
            inner = _first_difference(before, after, prefix=f"{prefix}{name}.")
            if inner is not None:
                return inner
        elif before != after:
            return f"{prefix}{name} is {before!r}, asked for {after!r}"
    return None
