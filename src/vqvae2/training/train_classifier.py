"""Train a classifier in a folder of its own, within a given time.

The folder holds what `vqvae2.training.loop.fit` writes, and if the command began it::

    classifier.json      how images are read, the network, and its training
    images/              the images, unless they are those of a run
    model.safetensors    the best model; with it, the folder can be given where a network is asked for
    last.safetensors, log.jsonl, states/
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vqvae2.config import (
    CLASSIFIER_CONFIGS,
    ClassifierConfig,
    ClassifierFamily,
    ClassifierNetworkConfig,
    ClassifierTrainingConfig,
    Config,
    ImageConfig,
    ResNetConfig,
)
from vqvae2.config.differences import first_difference
from vqvae2.data import Images
from vqvae2.errors import CheckpointError, ConfigError, OutputError
from vqvae2.models.checkpoint import LAST_MODEL_FILE, MODEL_FILE
from vqvae2.system.atomic import atomic_write_bytes
from vqvae2.system.folders import claim_folder, remove_entries
from vqvae2.system.json_files import read_json
from vqvae2.system.processes import first_decides
from vqvae2.system.progress import Listener, Silence
from vqvae2.training.budget import steps_that_fit
from vqvae2.training.classifier import ClassifierTask
from vqvae2.training.loop import fit
from vqvae2.training.states import STATES_FOLDER, TrainingStates
from vqvae2.training.task import FitResult, Runtime

__all__ = [
    "ClassifierRunConfig",
    "begin_classifier_folder",
    "network_for_size",
    "read_classifier_folder",
    "train_classifier",
]

_FILE = "classifier.json"
_MAGIC, _VERSION = "vqvae2.classifier", 1
_ENTRIES = ("images", MODEL_FILE, LAST_MODEL_FILE, "log.jsonl", STATES_FOLDER, _FILE)  # the record goes last


@dataclass(frozen=True, kw_only=True)
class ClassifierRunConfig(Config):
    """Everything that the training of a classifier from images does."""

    images: ImageConfig = field(default_factory=ImageConfig)
    network: ClassifierNetworkConfig = field(default_factory=ResNetConfig)
    training: ClassifierTrainingConfig = field(default_factory=ClassifierTrainingConfig)


def network_for_size(family: ClassifierFamily, size: tuple[int, int]) -> ClassifierNetworkConfig:
    """Give the default network of a family for images of that height and width in pixels.

    From 64 pixels on, a residual network halves them at once: its time then stays that of half the size.
    """
    if family == "resnet":
        return ResNetConfig(stem_stride=2 if min(size) >= 64 else 1)
    return CLASSIFIER_CONFIGS[family]()


def train_classifier(
    images: Images,
    config: ClassifierConfig,
    training: ClassifierTrainingConfig,
    directory: Path,
    *,
    runtime: Runtime,
    listener: Listener | None = None,
    minutes: float = 0.0,
    stage: str = "train classifier",
    training_indices: np.ndarray | None = None,
    validation: Images | None = None,
) -> FitResult:
    """Train a classifier, or go on with its training in the same folder.

    Args:
        images: The data; it trains on the train side.
        config: The classifier.
        training: How; its steps count only if there is no time to fill.
        directory: Where; see `fit`.
        runtime: Where and how to compute.
        listener: Is told what happens; None for silence.
        minutes: Time to fill; 0 takes the configured steps. A training that goes on keeps its steps.
        stage: What the listener is told that this is.
        training_indices: As for `ClassifierTask`, and so is the next.
        validation: As above.

    Raises:
        ConfigError: If classes or channels of the config are not those of the images, or `minutes` is below 0.
        DataError: If no image of a side has a class.
        CheckpointError: If the folder holds another training.
    """
    listener = listener or Silence()
    if minutes < 0.0:
        raise ConfigError(f"`minutes` must be at least 0, got {minutes:g}; 0 takes the configured steps")
    task = ClassifierTask(config, images, training, training_indices=training_indices, validation=validation)
    if minutes:
        steps = first_decides(TrainingStates(directory).planned_steps)
        if steps is None:
            listener.stage(stage, f"timing a few steps, to fill {minutes:.1f} minutes")
            steps = steps_that_fit(task, training, runtime=runtime, seconds=60.0 * minutes)
        training = replace(training, steps=steps)
    listener.stage(stage, f"{training.steps} steps of {training.batch_size} images")
    return fit(task, training, directory, runtime=runtime, on_progress=listener.progress, on_warning=listener.say)


def begin_classifier_folder(directory: Path, config: ClassifierRunConfig, *, force: bool = False) -> None:
    """Make a new or empty folder the folder of a classifier, or find that it is that of the same one.

    Args:
        directory: The folder.
        config: What is to happen in it.
        force: Remove an earlier classifier from the folder first, and allow other files in it.

    Raises:
        OutputError: If the folder holds other files, files whose names are needed, or a classifier of another config.
    """
    earlier = read_classifier_folder(directory)
    if earlier is not None and not force:
        difference = first_difference(earlier.to_dict(), config.to_dict())
        if difference is not None:
            raise OutputError(
                f"{directory} holds a classifier with another config ({difference}); "
                "ask for the same, choose another folder, or use --force to start anew"
            )
        return
    if earlier is not None:
        remove_entries(directory, _ENTRIES)
    claim_folder(directory, _ENTRIES, owner="a classifier", force=force)
    header = {"magic": _MAGIC, "version": _VERSION, "config": config.to_dict()}
    atomic_write_bytes(directory / _FILE, json.dumps(header, indent=2).encode())


def read_classifier_folder(directory: Path) -> ClassifierRunConfig | None:
    """Read the config of a folder that `begin_classifier_folder` made; None if it did not.

    Raises:
        CheckpointError: If the record is damaged.
    """
    path = directory / _FILE
    if not path.exists():
        return None
    try:
        header = read_json(path)
        if header["magic"] != _MAGIC or header["version"] != _VERSION:
            raise CheckpointError(f"{path} is of another format: {header['magic']!r} {header['version']!r}")
        return ClassifierRunConfig.from_dict(header["config"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable ({error}); restore it from a copy") from error
