"""What a run remembers about itself: `run.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from vqvae2.config.differences import first_difference
from vqvae2.config.presets import RunConfig
from vqvae2.errors import CheckpointError, OutputError
from vqvae2.pipeline.folder import RUN_FILE, TOKENIZER_FOLDER, prior_folder
from vqvae2.system.atomic import atomic_write_bytes
from vqvae2.system.folders import claim_folder, remove_entries
from vqvae2.system.json_files import read_json
from vqvae2.system.processes import first_decides, is_first_process

__all__ = ["RunRecord"]

_MAGIC, _VERSION = "vqvae2.run", 2


@dataclass
class RunRecord:
    """The config of a run, and what was decided and measured on the way."""

    directory: Path
    """The run's folder, which holds the record."""
    config: RunConfig
    steps: dict[str, int] = field(default_factory=dict)
    """Optimizer steps of each training, once they are decided."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time that each finished stage took."""

    @staticmethod
    def exists_in(directory: Path) -> bool:
        return (directory / RUN_FILE).exists()

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of all that a run leaves in its folder, its record last."""
        num_levels = self.config.tokenizer.num_levels
        priors = (prior_folder(level, num_levels) for level in range(num_levels))
        pages = ("config.json", "report.html", "results.json", "reconstructions.png", "completions.png", RUN_FILE)
        return ("images", TOKENIZER_FOLDER, "codes", *priors, "samples", *pages)

    @classmethod
    def begin(cls, directory: Path, config: RunConfig, *, force: bool = False) -> RunRecord:
        """Write the record of a new run into a new or empty folder, or read that of the same run from its folder.

        Args:
            directory: The folder.
            config: What the run does.
            force: Remove an earlier run from the folder first, and allow other files in it.

        Raises:
            OutputError: If the folder holds other files, files whose names a run needs, or a run with another config.
        """
        return first_decides(lambda: cls._begin(directory, config, force=force))

    @classmethod
    def _begin(cls, directory: Path, config: RunConfig, *, force: bool) -> RunRecord:
        if cls.exists_in(directory):
            earlier = cls.load(directory)
            if not force:
                earlier._require_same(config)
                return earlier
            remove_entries(directory, earlier.entries)
        record = cls(directory, config)
        claim_folder(directory, record.entries, owner="a run", force=force)
        record.save()
        return record

    @classmethod
    def load(cls, directory: Path) -> RunRecord:
        """Read the record of a run's folder.

        Raises:
            CheckpointError: If the folder has none, or it is damaged.
        """
        path = directory / RUN_FILE
        try:
            values = read_json(path)
            if values["magic"] != _MAGIC or values["version"] != _VERSION:
                raise CheckpointError(f"{path} is of another format: {values['magic']!r} {values['version']!r}")
            config, steps, seconds = RunConfig.from_dict(values["config"]), values["steps"], values["seconds"]
            if not all(type(count) is int and count > 0 for count in steps.values()):
                raise ValueError("steps must be counts")
            if not all(isinstance(value, int | float) for value in seconds.values()):
                raise ValueError("seconds must be numbers")
            return cls(directory, config, steps, seconds)
        except FileNotFoundError as error:
            raise CheckpointError(f"{directory} is not the folder of a run: it has no {RUN_FILE}") from error
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path} is not readable ({error}); restore it from a copy") from error

    def save(self) -> None:
        """Write the record into its folder."""
        if not is_first_process():
            return
        values = {
            "magic": _MAGIC,
            "version": _VERSION,
            "config": self.config.to_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        atomic_write_bytes(self.directory / RUN_FILE, json.dumps(values, indent=2).encode())

    def _require_same(self, config: RunConfig) -> None:
        difference = first_difference(self.config.to_dict(), config.to_dict())
        if difference is not None:
            raise OutputError(
                f"{self.directory} holds a run with another config ({difference}); "
                "ask for the same, choose another folder, or use --force to start anew"
            )
