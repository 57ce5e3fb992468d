"""What the folder of a run or of a classifier remembers about itself, in one JSON file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from vqvae2.config import (
    ClassifierRunConfig,
    Config,
    DecoderName,
    DecoderTrainingConfig,
    RunConfig,
    require_same_config,
)
from vqvae2.data.summary import SUMMARY_FILE
from vqvae2.errors import CheckpointError
from vqvae2.models.checkpoint import LAST_MODEL_FILE, MODEL_FILE
from vqvae2.pipeline.folder import RUN_FILE, SHARP_FOLDER, TOKENIZER_FOLDER, prior_folder
from vqvae2.system.files import atomic_write_bytes, claim_folder, read_json, remove_entries
from vqvae2.system.processes import first_decides, is_first_process
from vqvae2.training.states import MAY_CHANGE, STATES_FOLDER
from vqvae2.training.tracking import TRACKING_FOLDER

__all__ = ["DECODER_STAGE", "ClassifierRecord", "Record", "RunRecord"]

DECODER_STAGE = "train decoder"
"""The stage that trains a second decoder."""

_Config = TypeVar("_Config", bound=Config)


@dataclass
class Record(ABC, Generic[_Config]):
    """The config of a folder in which trainings happen, and what was decided and measured on the way."""

    directory: Path
    """The folder that holds the record."""
    config: _Config
    steps: dict[str, int] = field(default_factory=dict)
    """Optimizer steps of each training, once they are decided."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time that each finished stage took."""
    earlier_steps: dict[str, int] = field(default_factory=dict)
    """Steps after which a training had ended, before it was told to go on."""

    file: ClassVar[str]
    magic: ClassVar[str]
    version: ClassVar[int]
    owner: ClassVar[str]
    """What the folder belongs to, in words."""
    config_type: ClassVar[type[Config]]
    may_change: ClassVar[tuple[str, ...]] = ()
    """Fields of the config that may differ when a folder is begun again."""

    @property
    @abstractmethod
    def entries(self) -> tuple[str, ...]:
        """Names of everything that is written into the folder, the record last."""

    @classmethod
    def exists_in(cls, directory: Path) -> bool:
        return (directory / cls.file).exists()

    @classmethod
    def begin(
        cls,
        directory: Path,
        config: _Config,
        *,
        force: bool = False,
        check: Callable[[Self], None] = lambda record: None,
    ) -> Self:
        """Write a new record into a new or empty folder, or read the record that the folder has.

        `force` removes what an earlier record lists from the folder first, and allows other files in it. `check` may
        raise an error about the record, before anything is written or removed.

        Raises:
            OutputError: If the folder holds other files, files whose names are needed, or a record of another config.
        """
        return first_decides(lambda: cls._begin(directory, config, force, check))

    @classmethod
    def _begin(cls, directory: Path, config: _Config, force: bool, check: Callable[[Self], None]) -> Self:
        earlier = cls.load(directory) if cls.exists_in(directory) else None
        if earlier is not None and not force:
            require_same_config(f"{directory} holds {cls.owner}", earlier.config, config, may_change=cls.may_change)
            earlier.change_to(config)
            check(earlier)
            return earlier
        record = cls(directory, config)
        check(record)
        if earlier is not None:
            remove_entries(directory, earlier.entries)
        claim_folder(directory, record.entries, owner=cls.owner, force=force)
        record.save()
        return record

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the record of a folder.

        Raises:
            CheckpointError: If the folder has none, or it is damaged.
        """
        path = directory / cls.file
        try:
            values = read_json(path)
            if values["magic"] != cls.magic or values["version"] != cls.version:
                raise CheckpointError(f"{path} is of another format: {values['magic']!r} {values['version']!r}")
            config: Any = cls.config_type.from_dict(values["config"])
            # Classifiers did not record these at first.
            steps, seconds, earlier = (values.get(name, {}) for name in ("steps", "seconds", "earlier_steps"))
            if not all(type(count) is int and count > 0 for count in (*steps.values(), *earlier.values())):
                raise ValueError("`steps` and `earlier_steps` must be counts")
            if not all(isinstance(value, int | float) for value in seconds.values()):
                raise ValueError("`seconds` must be numbers")
            return cls(directory, config, steps, seconds, earlier)
        except FileNotFoundError as error:
            raise CheckpointError(f"{directory} is not the folder of {cls.owner}: it has no {cls.file}") from error
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path} is not readable ({error}); restore it from a copy") from error

    def change_to(self, config: _Config) -> None:
        """Take over what may change from the config that is asked for."""

    def save(self) -> None:
        """Write the record into its folder."""
        if not is_first_process():
            return
        values = {"magic": self.magic, "version": self.version, "config": self.config.to_dict()}
        values |= {"steps": self.steps, "seconds": self.seconds, "earlier_steps": self.earlier_steps}
        atomic_write_bytes(self.directory / self.file, json.dumps(values, indent=2).encode())


class RunRecord(Record[RunConfig]):
    """The record of a run: `run.json`."""

    file, magic, version, owner, config_type = RUN_FILE, "vqvae2.run", 2, "a run", RunConfig
    may_change = ("sharp_decoder", "default_decoder", "decoder_training")

    @property
    def entries(self) -> tuple[str, ...]:
        num_levels = self.config.tokenizer.num_levels
        priors = (prior_folder(level, num_levels) for level in range(num_levels))
        folders = ("images", TOKENIZER_FOLDER, "codes", *priors, SHARP_FOLDER, "samples", TRACKING_FOLDER)
        pages = ("config.json", "report.html", "results.json", "reconstructions.png", "completions.png")
        return (*folders, *pages, SUMMARY_FILE, RUN_FILE)

    def change_to(self, config: RunConfig) -> None:
        """Take over what the config says of a second decoder, see `plan_decoder`.

        A config without one says nothing of it to a run that plans or has one.

        Raises:
            OutputError: If the folder holds another training of a second decoder.
        """
        if config.sharp_decoder:
            self.plan_decoder(config.decoder_training, default=config.default_decoder)
        elif not self.config.sharp_decoder:
            changes = {name: getattr(config, name) for name in self.may_change}
            self.config = replace(self.config, **changes)

    def plan_decoder(self, training: DecoderTrainingConfig, *, default: DecoderName) -> None:
        """Plan a second decoder; once its training has begun, only the default decoder may be another one.

        A `loss_network` of "auto" is then the one that the training began with.

        Raises:
            OutputError: If the folder holds another training of a second decoder.
        """
        folder, begun = self.directory / SHARP_FOLDER, self.config.decoder_training
        if not first_decides(folder.exists):  # deleted, to train it anew
            self.steps.pop(DECODER_STAGE, None)
            self.seconds.pop(DECODER_STAGE, None)
            self.earlier_steps.pop(DECODER_STAGE, None)
        if DECODER_STAGE in self.steps:
            if training.loss_network == "auto":
                training = replace(training, loss_network=begun.loss_network)
            place, remedy = f"{folder} holds a training", "or delete the folder to train it anew"
            require_same_config(place, begun, training, may_change=MAY_CHANGE, remedy=remedy)
        self.config = replace(self.config, sharp_decoder=True, default_decoder=default, decoder_training=training)


class ClassifierRecord(Record[ClassifierRunConfig]):
    """The record of a classifier: `classifier.json`. Its folder holds what `training.loop.fit` writes, and more.

    ::

    classifier.json      how images are read, the network, and its training
    images/              the images, unless they are those of a run; `image-summary.json` beside it
    model.safetensors    the best model; with it, the folder can stand wherever a network is asked for
    last.safetensors, log.jsonl, states/
    """

    file, magic, version = "classifier.json", "vqvae2.classifier", 1
    owner, config_type = "a classifier", ClassifierRunConfig

    @property
    def entries(self) -> tuple[str, ...]:
        folders = ("images", STATES_FOLDER, TRACKING_FOLDER)
        return (*folders, MODEL_FILE, LAST_MODEL_FILE, "log.jsonl", SUMMARY_FILE, self.file)
