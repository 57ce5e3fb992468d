"""What a run remembers about itself: `run.json`."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqvae2.atomic import atomic_write_bytes
from vqvae2.errors import CheckpointError
from vqvae2.pipeline import TOKENIZER_FOLDER, prior_folder
from vqvae2.presets import RunConfig

__all__ = ["RunRecord"]

_FILE = "run.json"
_MAGIC, _VERSION = "vqvae2.run", 2


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

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of all that a run leaves in its folder."""
        num_levels = self.config.tokenizer.num_levels
        priors = (prior_folder(level, num_levels) for level in range(num_levels))
        pages = ("config.json", "report.html", "results.json", "reconstructions.png", "completions.png", _FILE)
        return ("images", TOKENIZER_FOLDER, "codes", *priors, "samples", *pages)

    def remove_run(self, directory: Path) -> None:
        """Remove what the run left in its folder, its record last; anything else stays."""
        for path in (directory / name for name in self.entries):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

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
        return _first_difference(self.config.to_dict(), config.to_dict())


def _first_difference(old: Any, new: Any, path: str = "") -> str | None:
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(f"{path}.{name}" if path else name, old[name], new[name]) for name in old]
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        pairs = [(f"{path}.{index}", before, after) for index, (before, after) in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else f"{path} is {old!r}, asked for {new!r}"
    differences = (_first_difference(before, after, name) for name, before, after in pairs)
    return next((difference for difference in differences if difference is not None), None)
