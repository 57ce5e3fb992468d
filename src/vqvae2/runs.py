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

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from vqvae2.budget import steps_that_fit, training_seconds, training_shares
from vqvae2.checkpoint import MODEL_FILE, load_model, read_model_file
from vqvae2.config import CodeSpace, PixelSNAILConfig, PriorConfig, PriorTrainingConfig, TrainingConfig, level_names
from vqvae2.data import CodeStore, ImageSource, ImageStore, prepare_images
from vqvae2.errors import CheckpointError, ConfigError, OutputError
from vqvae2.extraction import extract_codes
from vqvae2.listener import Listener, Silence
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline import TOKENIZER_FOLDER, Pipeline, prior_folder
from vqvae2.pipeline_config import PipelineConfig, write_pipeline_config
from vqvae2.presets import RunConfig
from vqvae2.run_record import RunRecord
from vqvae2.training.loop import fit
from vqvae2.training.prior import PriorTask
from vqvae2.training.task import FitResult, Progress, Runtime, Task
from vqvae2.training.tokenizer import TokenizerTask

__all__ = ["Run"]

_NAMED_FILES = 5  # unreadable files that are named while a run goes on; the report names all


class _TrainingStage(NamedTuple):
    """One training of a run."""

    name: str
    directory: Path
    share: float
    """Of the run's time."""


class Run:
    """One run folder.

    Args:
        directory: The folder.
        record: Config, steps and times; kept in the folder.
        runtime: Where and how to compute.
        listener: Is told what happens; None for silence.
    """

    def __init__(
        self, directory: Path, record: RunRecord, *, runtime: Runtime, listener: Listener | None = None
    ) -> None:
        self.directory = directory
        self.record = record
        self.runtime = runtime
        self.listener = listener or Silence()

    @classmethod
    def create(
        cls,
        directory: Path,
        config: RunConfig,
        *,
        runtime: Runtime,
        listener: Listener | None = None,
        force: bool = False,
    ) -> Run:
        """Begin a run in a new or empty folder, or go on with the same run in its folder.

        Args:
            directory: The folder.
            config: What the run does.
            runtime: Where and how to compute.
            listener: Is told what happens; None for silence.
            force: Remove an earlier run from the folder first, and allow other files in it.

        Raises:
            OutputError: If the folder holds other files, files whose names a run needs, or a run with another config.
        """
        if force and RunRecord.exists_in(directory):
            RunRecord.load(directory).remove_run(directory)
        if RunRecord.exists_in(directory):
            run = cls.open(directory, runtime=runtime, listener=listener)
            difference = run.record.difference_from(config)
            if difference is not None:
                raise OutputError(
                    f"{directory} holds a run with another config ({difference}); "
                    "ask for the same, choose another folder, or use --force to start anew"
                )
            return run
        record = RunRecord(config)
        taken = [path.name for path in directory.iterdir()] if directory.is_dir() else []
        if directory.is_file() or (taken and not force):
            raise OutputError(
                f"{directory} must be a new or empty folder, but holds files that are not of a run; "
                "choose another, or use --force to write beside them"
            )
        in_the_way = sorted(set(taken) & set(record.entries))
        if in_the_way:
            raise OutputError(
                f"{directory} holds {', '.join(in_the_way)}, which are not of a run; choose another folder"
            )
        run = cls(directory, record, runtime=runtime, listener=listener)
        directory.mkdir(parents=True, exist_ok=True)
        run.record.save(directory)
        return run

    @classmethod
    def open(cls, directory: Path, *, runtime: Runtime, listener: Listener | None = None) -> Run:
        """Open the folder of a run.

        Raises:
            CheckpointError: If it is not one, or `run.json` is damaged.
        """
        return cls(directory, RunRecord.load(directory), runtime=runtime, listener=listener)

    @property
    def config(self) -> RunConfig:
        return self.record.config

    @property
    def num_levels(self) -> int:
        return self.config.tokenizer.num_levels

    def prior_directory(self, level: int) -> Path:
        return self.directory / prior_folder(level, self.num_levels)

    def prepare_images(self, source: ImageSource) -> ImageStore:
        """Decode, resize and split the images, once.

        Raises:
            OutputError: If the run was begun with other images.
        """
        directory = self.directory / "images"
        if directory.exists():
            self.listener.stage("prepare images", "done before")
            images = self.images()
            known = {*images.names, *(name for name, _ in images.skipped)}
            if known != set(source.names):
                raise OutputError(
                    f"{self.directory} was begun with {len(known)} files, of which {len(known & set(source.names))} "
                    f"are among these {len(source)}; choose another folder, or use --force to start anew"
                )
            return images
        config = self.config.images
        height, width = config.size
        self.listener.stage(
            "prepare images",
            f"{len(source)} files to {height}x{width}, {config.channels} channels of {config.bit_depth} bits",
        )
        with self._timed("prepare images"):
            images = prepare_images(
                source,
                directory,
                size=config.size,
                channels=config.channels,
                bit_depth=config.bit_depth,
                resize=config.resize,
                validation_fraction=config.validation_fraction,
                group_pattern=config.group_pattern,
                on_progress=self.counter("images"),
            )
        if images.skipped:
            named = "; ".join(f"{name}: {reason}" for name, reason in images.skipped[:_NAMED_FILES])
            more = f"; and {len(images.skipped) - _NAMED_FILES} more" if len(images.skipped) > _NAMED_FILES else ""
            self.listener.say(f"  skipped {len(images.skipped)} of {len(source)} files: {named}{more}")
        return images

    def train_tokenizer(self, *, minutes: float | None = None) -> FitResult:
        """Train the tokenizer, or go on with it; the folder then becomes a pipeline without priors.

        Args:
            minutes: Time for this training; None takes its share of the run's, 0 the configured steps.
        """
        images = self.images()
        task = TokenizerTask(self.config.tokenizer, images, self.config.tokenizer_training)
        share, _ = training_shares(self.num_levels)
        stage = _TrainingStage("train tokenizer", self.directory / TOKENIZER_FOLDER, share)
        result = self._fit(stage, task, self.config.tokenizer_training, minutes)
        self._write_pipeline_config(images)
        return result

    def extract_codes(self) -> CodeStore:
        """Encode all images with the tokenizer; codes of an older tokenizer are refused."""
        tokenizer, header = load_model(self.directory / TOKENIZER_FOLDER / MODEL_FILE, kind="tokenizer")
        assert isinstance(tokenizer, VQVAE2)
        directory = self.directory / "codes"
        if directory.exists():
            self.listener.stage("extract codes", "done before")
            codes = self.codes()
            codes.require_tokenizer(header.fingerprint)
            return codes
        images = self.images()
        self.listener.stage("extract codes", f"{images.num_images} images")
        with self._timed("extract codes"):
            return extract_codes(
                tokenizer.to(self.runtime.device), images, directory, on_progress=self.counter("images")
            )

    def set_prior(self, level: int, network: PixelSNAILConfig, training: PriorTrainingConfig) -> None:
        """Change a level's prior before it is trained."""
        self._check_level(level)
        self.record.config = self.config.with_prior(level, network, training)

    def train_prior(self, level: int, *, minutes: float | None = None) -> FitResult:
        """Train the prior of a level, or go on with it; with the last one, the folder can sample.

        Args:
            level: 0 is the top.
            minutes: Time for this training; None takes its share of the run's, 0 the configured steps.

        Raises:
            ConfigError: If there is no such level.
            CheckpointError: If there are no codes yet, or the folder holds another training of this prior.
        """
        self._check_level(level)
        codes = self.codes()
        tokenizer = read_model_file(self.directory / TOKENIZER_FOLDER / MODEL_FILE).fingerprint
        codes.require_tokenizer(tokenizer)
        space = CodeSpace.of_level(
            level, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=len(codes.classes)
        )
        training = self.config.prior_training(level)
        config = PriorConfig(space=space, network=self.config.prior(level), tokenizer=tokenizer)
        task = PriorTask(config, codes, training)
        result = self._fit(self._prior_stage(level), task, training, minutes)
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
        return lambda done, total: self.listener.progress(Progress(done, total, unit))

    @contextmanager
    def stage(self, name: str, note: str) -> Iterator[None]:
        """Announce a further stage, and keep its time."""
        self.listener.stage(name, note)
        with self._timed(name):
            yield

    def _fit(self, stage: _TrainingStage, task: Task, training: TrainingConfig, minutes: float | None) -> FitResult:
        name = stage.name
        if name not in self.record.steps:
            self.record.steps[name] = self._decide_steps(stage, task, training, minutes)
            self.record.save(self.directory)
        elif minutes is not None:
            self.listener.say(f"  keeps the {self.record.steps[name]} steps that were decided when it began")
        training = replace(training, steps=self.record.steps[name])
        note = (
            "done before" if name in self.record.seconds else f"{training.steps} steps of {training.batch_size} images"
        )
        self.listener.stage(name, note)
        result = fit(
            task,
            training,
            stage.directory,
            runtime=self.runtime,
            on_progress=self.listener.progress,
        )
        self.record.seconds.setdefault(name, result.seconds)
        self.record.save(self.directory)
        return result

    def _decide_steps(self, stage: _TrainingStage, task: Task, training: TrainingConfig, minutes: float | None) -> int:
        """Turn time into steps; done once, since a training that goes on has to keep its schedule."""
        if minutes is None:
            spent = {
                name: seconds
                for name, seconds in self.record.seconds.items()
                if name in ("prepare images", "extract codes")
            }
            seconds = training_seconds(self.config.minutes, stage.share, spent)
        else:
            seconds = 60.0 * minutes
        if seconds == 0.0:
            return training.steps
        self.listener.stage(stage.name, f"timing a few steps, to fill {seconds / 60.0:.1f} minutes")
        return steps_that_fit(task, training, runtime=self.runtime, seconds=seconds)

    def _prior_stage(self, level: int) -> _TrainingStage:
        name = f"train prior, {level_names(self.num_levels)[level]}"
        return _TrainingStage(name, self.prior_directory(level), training_shares(self.num_levels)[1][level])

    def _check_level(self, level: int) -> None:
        if not 0 <= level < self.num_levels:
            raise ConfigError(f"`level` must be in 0..{self.num_levels - 1} (0 is the top), got {level}")

    def _write_pipeline_config(self, images: ImageStore) -> None:
        priors = (self.prior_directory(level) / MODEL_FILE for level in range(self.num_levels))
        labels = images.labels[images.indices("train")]
        config = PipelineConfig(
            image_size=images.size,
            bit_depth=images.bit_depth,
            classes=images.classes,
            class_counts=tuple(int((labels == index).sum()) for index in range(len(images.classes))),
            has_priors=all(path.exists() for path in priors),
        )
        write_pipeline_config(config, self.directory)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.record.seconds[name] = time.perf_counter() - start
        self.record.save(self.directory)
