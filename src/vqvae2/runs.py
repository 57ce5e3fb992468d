"""A run: one folder in which a collection of images becomes a pipeline, stage by stage.

Each stage leaves its result in the folder and is skipped when that is complete, so a run that was stopped goes
on where it was::

    run.json          config, steps and seconds of each stage
    images/           decoded images, and their split
    tokenizer/        model, log and training state
    codes/            the codes of all images
    prior-top/ ...    one folder a level, as tokenizer/
    config.json       with it, the folder is a pipeline
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from vqvae2.atomic import atomic_write_bytes
from vqvae2.checkpoint import load_model, read_model_file
from vqvae2.config import CodeSpace, PixelSNAILConfig, PriorConfig, TrainingConfig, level_names
from vqvae2.data import CodeStore, ImageSource, ImageStore, prepare_images
from vqvae2.errors import CheckpointError, ConfigError, OutputError
from vqvae2.extraction import extract_codes
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline import TOKENIZER_FOLDER, Pipeline, PipelineConfig, prior_folder, write_pipeline_config
from vqvae2.presets import RunConfig
from vqvae2.training.loop import fit, measure_step_seconds
from vqvae2.training.prior import PriorTask
from vqvae2.training.task import FitResult, Progress, Runtime, Task
from vqvae2.training.tokenizer import TokenizerTask

__all__ = ["Listener", "Run"]

_RUN_FILE = "run.json"
_NAMED_FILES = 5  # unreadable files that are named while a run goes on; the report names all
# How a time budget is divided. What is left over is for reading images, extraction, sampling and the report.
_TOKENIZER_SHARE, _PRIORS_SHARE, _REST_SHARE = 0.45, 0.43, 0.12


class Listener(Protocol):
    """Is told what a run does."""

    def stage(self, name: str, note: str) -> None:
        """A stage begins, or is skipped; the note says how."""
        ...

    def progress(self, progress: Progress) -> None:
        """The stage goes on."""
        ...

    def say(self, text: str) -> None:
        """Something that the user should know."""
        ...


class Run:
    """One run folder.

    Args:
        directory: The folder.
        config: What the run does.
        runtime: Where and how to compute.
        listener: Is told what happens; None for silence.
    """

    def __init__(
        self, directory: Path, config: RunConfig, *, runtime: Runtime, listener: Listener | None = None
    ) -> None:
        self.directory = directory
        self.config = config
        self.runtime = runtime
        self._listener = listener
        self.steps: dict[str, int] = {}
        """Optimizer steps of each training, once they are decided."""
        self.seconds: dict[str, float] = {}
        """Time that each finished stage took."""

    @classmethod
    def create(
        cls,
        directory: Path,
        config: RunConfig,
        *,
        runtime: Runtime,
        listener: Listener | None = None,
        among_others: bool = False,
    ) -> Run:
        """Begin a run in a new or empty folder, or go on with the same run in its folder.

        Args:
            directory: The folder.
            config: What the run does.
            runtime: Where and how to compute.
            listener: Is told what happens; None for silence.
            among_others: Whether the folder may hold other files.

        Raises:
            OutputError: If the folder holds other files, or a run with another config.
        """
        if (directory / _RUN_FILE).exists():
            run = cls.open(directory, runtime=runtime, listener=listener)
            difference = _first_difference(run.config.to_dict(), json.loads(json.dumps(config.to_dict())))
            if difference:
                raise OutputError(
                    f"{directory} holds a run with another config ({difference}); "
                    "ask for the same, choose another folder, or use --force to start anew"
                )
            return run
        if directory.exists() and (not directory.is_dir() or (any(directory.iterdir()) and not among_others)):
            raise OutputError(
                f"{directory} must be a new or empty folder, but holds files that are not of a run; "
                "choose another, or use --force to write beside them"
            )
        run = cls(directory, config, runtime=runtime, listener=listener)
        directory.mkdir(parents=True, exist_ok=True)
        run._save()
        return run

    @classmethod
    def open(cls, directory: Path, *, runtime: Runtime, listener: Listener | None = None) -> Run:
        """Open the folder of a run.

        Raises:
            CheckpointError: If it is not one, or `run.json` is damaged.
        """
        path = directory / _RUN_FILE
        try:
            values = json.loads(path.read_text())
            if values["magic"] != "vqvae2.run" or values["version"] != 1:
                raise CheckpointError(f"{path} is of another format: {values['magic']!r} {values['version']!r}")
            run = cls(directory, RunConfig.from_dict(values["config"]), runtime=runtime, listener=listener)
            run.steps, run.seconds = dict(values["steps"]), dict(values["seconds"])
        except FileNotFoundError as error:
            raise CheckpointError(f"{directory} is not the folder of a run: it has no {_RUN_FILE}") from error
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is not readable ({error}); restore it from a copy") from error
        return run

    @property
    def num_levels(self) -> int:
        return self.config.tokenizer.num_levels

    def prior_stage(self, level: int) -> str:
        """Name the stage that trains a level's prior, as it stands in `seconds`."""
        return f"train prior, {level_names(self.num_levels)[level]}"

    def prior_directory(self, level: int) -> Path:
        return self.directory / prior_folder(level, self.num_levels)

    def prepare_images(self, source: ImageSource) -> ImageStore:
        """Decode, resize and split the images, once."""
        directory = self.directory / "images"
        if directory.exists():
            self._say("prepare images", "done before")
            return self.images()
        config = self.config.images
        self._say("prepare images", f"{len(source)} files to {config.size}x{config.size}, {config.channels} channels")
        with self._timed("prepare images"):
            images = prepare_images(
                source,
                directory,
                size=config.size,
                channels=config.channels,
                resize=config.resize,
                validation_fraction=config.validation_fraction,
                group_pattern=config.group_pattern,
                on_progress=self.counter("images"),
            )
        if images.skipped and self._listener is not None:
            named = "; ".join(f"{name}: {reason}" for name, reason in images.skipped[:_NAMED_FILES])
            more = f"; and {len(images.skipped) - _NAMED_FILES} more" if len(images.skipped) > _NAMED_FILES else ""
            self._listener.say(f"  skipped {len(images.skipped)} of {len(source)} files: {named}{more}")
        return images

    def train_tokenizer(self, *, minutes: float | None = None) -> FitResult:
        """Train the tokenizer, or go on with it; the folder then becomes a pipeline without priors.

        Args:
            minutes: Time for this training; None takes its share of the run's.
        """
        images = self.images()
        task = TokenizerTask(self.config.tokenizer, images, self.config.tokenizer_training)
        directory = self.directory / TOKENIZER_FOLDER
        result = self._fit("train tokenizer", task, self.config.tokenizer_training, directory, minutes)
        self._write_pipeline_config(images)
        return result

    def extract_codes(self) -> CodeStore:
        """Encode all images with the tokenizer; codes of an older tokenizer are refused."""
        tokenizer, header = load_model(self.directory / TOKENIZER_FOLDER / "model.safetensors", kind="tokenizer")
        assert isinstance(tokenizer, VQVAE2)
        directory = self.directory / "codes"
        if directory.exists():
            self._say("extract codes", "done before")
            codes = self.codes()
            codes.require_tokenizer(header.fingerprint)
            return codes
        images = self.images()
        self._say("extract codes", f"{images.num_images} images")
        with self._timed("extract codes"):
            return extract_codes(
                tokenizer.to(self.runtime.device), images, directory, on_progress=self.counter("images")
            )

    def set_prior(self, level: int, network: PixelSNAILConfig, training: TrainingConfig) -> None:
        """Change a level's prior before it is trained."""
        self._check_level(level)
        self.config = self.config.with_prior(level, network, training)

    def train_prior(self, level: int, *, minutes: float | None = None) -> FitResult:
        """Train the prior of a level, or go on with it; with the last one, the folder can sample.

        Args:
            level: 0 is the top.
            minutes: Time for this training; None takes its share of the run's.

        Raises:
            ConfigError: If there is no such level.
            CheckpointError: If there are no codes yet, or the folder holds another training of this prior.
        """
        self._check_level(level)
        codes = self.codes()
        codes.require_tokenizer(read_model_file(self.directory / TOKENIZER_FOLDER / "model.safetensors").fingerprint)
        space = CodeSpace.of_level(
            level, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=len(codes.classes)
        )
        training = self.config.prior_training(level)
        task = PriorTask(PriorConfig(space=space, network=self.config.prior(level)), codes, training)
        result = self._fit(self.prior_stage(level), task, training, self.prior_directory(level), minutes)
        self._write_pipeline_config(self.images())
        return result

    def images(self) -> ImageStore:
        """Open the prepared images."""
        return ImageStore.open(self.directory / "images")

    def codes(self) -> CodeStore:
        """Open the extracted codes."""
        directory = self.directory / "codes"
        if not directory.exists():
            raise CheckpointError(
                f"{self.directory} has no codes yet; run `vqvae2 extract-codes {self.directory}` first"
            )
        return CodeStore.open(directory)

    def pipeline(self) -> Pipeline:
        """Load what is trained so far, onto the run's device."""
        return Pipeline.from_pretrained(self.directory).to(self.runtime.device)

    def counter(self, unit: str) -> Callable[[int, int], None]:
        """Make a callback `(done, total)` that reports to the listener."""

        def count(done: int, total: int) -> None:
            if self._listener is not None:
                self._listener.progress(Progress(done, total, unit))

        return count

    @contextmanager
    def stage(self, name: str, note: str) -> Iterator[None]:
        """Announce a further stage, and keep its time."""
        self._say(name, note)
        with self._timed(name):
            yield

    def _fit(
        self, name: str, task: Task, training: TrainingConfig, directory: Path, minutes: float | None
    ) -> FitResult:
        training = replace(training, steps=self._decide_steps(name, task, training, minutes))
        note = "done before" if name in self.seconds else f"{training.steps} steps of {training.batch_size} images"
        self._say(name, note)
        result = fit(
            task,
            training,
            directory,
            runtime=self.runtime,
            on_progress=self._listener.progress if self._listener else None,
        )
        self.seconds.setdefault(name, result.seconds)
        self._save()
        return result

    def _decide_steps(self, name: str, task: Task, training: TrainingConfig, minutes: float | None) -> int:
        """Turn the stage's time into steps, once: a run that goes on keeps its number, and so its schedule."""
        if name not in self.steps:
            budget_seconds = self._share_seconds(name) if minutes is None else 60.0 * minutes
            self.steps[name] = training.steps
            if budget_seconds > 0.0:
                self._say(name, f"timing a few steps, to fill {budget_seconds / 60.0:.1f} minutes")
                trial_seconds = min(8.0, 0.05 * budget_seconds)
                step_seconds = measure_step_seconds(task, training, runtime=self.runtime, budget_seconds=trial_seconds)
                # A little is kept back for validation and checkpoints.
                self.steps[name] = max(20, int(0.94 * (budget_seconds - trial_seconds) / step_seconds))
            self._save()
        return self.steps[name]

    def _share_seconds(self, name: str) -> float:
        """Give a training its part of what is left of the run's time; 0 if the run has no time budget."""
        if not self.config.minutes:
            return 0.0
        weights = {self.prior_stage(level): 1.0 + 0.5 * level for level in range(self.num_levels)}
        shares = {stage: _PRIORS_SHARE * weight / sum(weights.values()) for stage, weight in weights.items()}
        shares["train tokenizer"] = _TOKENIZER_SHARE
        ahead = _REST_SHARE + sum(share for stage, share in shares.items() if stage not in self.seconds)
        left = 60.0 * self.config.minutes - sum(self.seconds.values())
        return max(1.0, left * shares[name] / ahead)

    def _check_level(self, level: int) -> None:
        if not 0 <= level < self.num_levels:
            raise ConfigError(f"`level` must be in 0..{self.num_levels - 1} (0 is the top), got {level}")

    def _write_pipeline_config(self, images: ImageStore) -> None:
        priors = (self.prior_directory(level) / "model.safetensors" for level in range(self.num_levels))
        labels = images.labels[images.indices("train")]
        config = PipelineConfig(
            image_size=images.size,
            classes=images.classes,
            class_counts=tuple(int((labels == index).sum()) for index in range(len(images.classes))),
            has_priors=all(path.exists() for path in priors),
        )
        write_pipeline_config(config, self.directory)

    def _say(self, name: str, note: str) -> None:
        if self._listener is not None:
            self._listener.stage(name, note)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self._save()

    def _save(self) -> None:
        values = {
            "magic": "vqvae2.run",
            "version": 1,
            "config": self.config.to_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        atomic_write_bytes(self.directory / _RUN_FILE, json.dumps(values, indent=2).encode())


def _first_difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str | None:
    """Name the first field in which two nested configs differ, with both values."""
    for name in old.keys() | new.keys():
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            inner = _first_difference(before, after, f"{prefix}{name}.")
            if inner:
                return inner
        elif before != after and json.dumps(before) != json.dumps(after):
            return f"{prefix}{name} is {before!r}, asked for {after!r}"
    return None
