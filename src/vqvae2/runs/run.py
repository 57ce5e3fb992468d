"""A run: one folder in which a collection of images becomes a pipeline, stage by stage.

Each stage leaves its result in the folder, and is skipped once that is complete. A run that was stopped resumes there::

    run.json          config, steps and seconds of each stage
    images/           decoded images, or an index of streamed ones, and their split
    tokenizer/        model, log and training states
    codes/            the codes of all images
    sharp-decoder/    a second decoder, if the run trains one
    prior-top/ ...    one folder per level, with the same files as tokenizer/
    config.json       makes the folder a pipeline
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from vqvae2.config import (
    CodeSpace,
    DecoderConfig,
    DecoderName,
    DecoderTrainingConfig,
    ExtractionConfig,
    LossNetwork,
    NetworkConfig,
    PriorConfig,
    PriorTrainingConfig,
    RunConfig,
    TrainingConfig,
    require_same_config,
)
from vqvae2.data import CodeStore, Images, ImageSource, open_prepared
from vqvae2.errors import CheckpointError, ConfigError, OutputError
from vqvae2.evaluation.networks import FeatureNetwork, find_loss_network
from vqvae2.models.checkpoint import MODEL_FILE, load_model, read_model_file
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import CONFIG_FILE, PipelineConfig, read_pipeline_config, write_pipeline_config
from vqvae2.pipeline.folder import SHARP_FOLDER, TOKENIZER_FOLDER, prior_folder
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.runs.images import announce_skipped, prepare_once
from vqvae2.runs.record import DECODER_STAGE, RunRecord
from vqvae2.runs.start import Start
from vqvae2.runs.training import TrainingStage
from vqvae2.system.processes import first_decides, is_first_process
from vqvae2.system.progress import Listener, Progress
from vqvae2.training.decoder import DecoderTask
from vqvae2.training.extraction import extract_codes
from vqvae2.training.prior import PriorTask
from vqvae2.training.schedule import training_shares
from vqvae2.training.steps import items_per_process
from vqvae2.training.task import FitResult, Runtime, Task
from vqvae2.training.tokenizer import TokenizerTask

__all__ = ["Run"]

_SHOWN_SAMPLES = 8  # to trackers


class Run:
    """One run folder, whose record keeps its config, steps and times. The listener is told what happens."""

    def __init__(self, record: RunRecord, *, runtime: Runtime, listener: Listener | None = None) -> None:
        self.directory = record.directory
        self.record = record
        self.runtime = runtime
        self.listener = listener or Listener()
        self._images: Images | None = None

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
        """Begin a run in a new or empty folder, or resume the same run in its folder; see `RunRecord.begin`.

        Raises:
            CheckpointError: If there is no pipeline `config.start_from`.
            ConfigError: If the processes cannot divide the batch of a training that is still to come.
            OutputError: If that pipeline's tokenizer has another config.
        """

        def check(record: RunRecord) -> None:
            run = cls(record, runtime=runtime)
            run._check_batches()
            if run._start is not None:
                run._start.check(config)

        record = RunRecord.begin(directory, config, force=force, check=check)
        return cls(record, runtime=runtime, listener=listener)

    @classmethod
    def open(cls, directory: Path, *, runtime: Runtime, listener: Listener | None = None) -> Run:
        """Open the folder of a run; see `RunRecord.load`."""
        return cls(RunRecord.load(directory), runtime=runtime, listener=listener)

    @property
    def config(self) -> RunConfig:
        return self.record.config

    @property
    def num_levels(self) -> int:
        return self.config.tokenizer.num_levels

    def prior_directory(self, level: int) -> Path:
        return self.directory / prior_folder(level, self.num_levels)

    def prepare_images(self, source: ImageSource) -> Images:
        """Decode, resize and split the images, once; or index them, if they are streamed.

        Raises:
            OutputError: If the run was begun with other images.
        """
        directory = self.directory / "images"
        exists = first_decides(directory.exists)
        with nullcontext() if exists else self._timed("prepare images"):
            self._images = prepare_once(source, directory, self.config.images, listener=self.listener)
        return self._images

    def train_tokenizer(self, *, minutes: float | None = None, more_steps: int = 0) -> FitResult:
        """Train the tokenizer, or resume its training; then the folder is a pipeline without priors.

        With `config.freeze_tokenizer`, copy the tokenizer of `config.start_from` instead, and its sharp decoder.

        Args:
            minutes: Time for this training; None takes its share of the run's, 0 the configured steps.
            more_steps: Steps to take on top, once the training has ended; the best model of all is kept.

        Raises:
            ConfigError: If more steps are asked for before the training has ended, or of a frozen tokenizer.
            OutputError: If the folder holds another training, or codes, which more steps would make worthless.
        """
        if more_steps and self.config.freeze_tokenizer:
            raise ConfigError(f"`more_steps` must be 0 with `freeze_tokenizer`, got {more_steps}")
        if more_steps and first_decides((self.directory / "codes").exists):
            raise OutputError(
                f"{self.directory / 'codes'} holds codes of this tokenizer, which more steps would make worthless; "
                f"begin another run with `start_from` {self.directory}"
            )
        images, training, start = self.images(), self.config.tokenizer_training, self._start
        weights = None if start is None else start.tokenizer().state_dict()
        task = TokenizerTask(self.config.tokenizer, images, training, start=weights)
        if start is not None and self.config.freeze_tokenizer:
            with self.stage("take tokenizer", f"that of {start.source}, as it is"):
                first_decides(lambda: start.copy_tokenizer(self.directory))
                measured = task.validate(task.model.to(self.runtime.device).eval(), self.runtime)
            result = FitResult(0, 0, 0, measured, self.record.seconds["take tokenizer"])
        else:
            result = self._train(0, task, training, minutes=minutes, more_steps=more_steps)
        self._write_pipeline_config(images)
        return result

    def set_extraction(self, extraction: ExtractionConfig) -> None:
        """Change which views are encoded, before they are; the record keeps the change, unless there are codes already.

        Raises:
            OutputError: If a prior was trained on codes of other views.
        """
        folders = map(self.prior_directory, range(self.num_levels))
        for folder in first_decides(lambda: list(filter(Path.exists, folders))):
            place, remedy = f"{folder} holds a prior of codes", "or delete the folder to train it anew"
            require_same_config(place, self.config.extraction, extraction, remedy=remedy)
        self.record.config = replace(self.config, extraction=extraction)
        if not first_decides((self.directory / "codes").exists):
            self.record.save()

    def extract_codes(self) -> CodeStore:
        """Encode all images with the tokenizer, and the views of training images that `config.extraction` asks for.

        Views are also mirrored if the training of a prior has `horizontal_flips`.

        Raises:
            CheckpointError: If the folder holds codes of another tokenizer.
            OutputError: If it holds codes of other views.
        """
        tokenizer, header = load_model(self.directory / TOKENIZER_FOLDER / MODEL_FILE, kind="tokenizer")
        assert isinstance(tokenizer, VQVAE2)
        extraction = self.config.extraction
        if any(self.config.prior_training(level).horizontal_flips for level in range(self.num_levels)):
            extraction = replace(extraction, horizontal_flips=True)
        directory = self.directory / "codes"
        if first_decides(directory.exists):
            codes = self.codes(with_flips=extraction.horizontal_flips)
            codes.require_tokenizer(header.fingerprint)
            self.listener.stage("extract codes", "done before")
            return codes
        images = self.images()
        num_views = extraction.num_views
        views = f", {num_views} views of each training image" if num_views > 1 else ""
        with self.stage("extract codes", f"{images.num_images} images{views}"):
            return extract_codes(
                tokenizer.to(self.runtime.device),
                images,
                directory,
                extraction=extraction,
                on_progress=lambda done, total: self.listener.progress(Progress(done, total, "images")),
            )

    def set_prior(self, level: int, network: NetworkConfig, training: PriorTrainingConfig) -> None:
        """Change a level's prior before it is trained; the record keeps the change, since codes depend on it.

        Once the training has begun, the record stays as it is, and the training refuses to resume with another config.
        """
        self._check_level(level)
        self.record.config = self.config.with_prior(level, network, training)
        if self.training_stages[1 + level].name not in self.record.steps:
            self.record.save()

    def train_prior(self, level: int, *, minutes: float | None = None, more_steps: int = 0) -> FitResult:
        """Train the prior of a level, or resume its training. With the priors of all levels, the folder can sample.

        Args:
            level: 0 is the top.
            minutes: Time for this training; None takes its share of the run's, 0 the configured steps.
            more_steps: Steps to take on top, once the training has ended; the best model of all is kept.

        Raises:
            ConfigError: If there is no such level, or more steps are asked for before the training has ended.
            CheckpointError: If there are no codes yet.
            OutputError: If the folder holds another training of this prior, or codes of other views.
        """
        self._check_level(level)
        training = self.config.prior_training(level)
        codes = self.codes(with_flips=training.horizontal_flips)
        tokenizer = read_model_file(self.directory / TOKENIZER_FOLDER / MODEL_FILE).fingerprint
        codes.require_tokenizer(tokenizer)
        space = CodeSpace.of_level(
            level, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=len(codes.classes)
        )
        config = PriorConfig(space=space, network=self.config.prior(level), tokenizer=tokenizer)
        start, stage = self._start, self.training_stages[1 + level].name
        weights = None if start is None else start.prior_weights(config, codes.classes)
        if start is not None and weights is None and stage not in self.record.steps:
            self.listener.say(f"  this prior starts from nothing: {start.source} has none of this network")
        task = PriorTask(config, codes, training, start=weights)
        was_done = stage in self.record.seconds
        result = self._train(1 + level, task, training, minutes=minutes, more_steps=more_steps)
        self._write_pipeline_config(self.images())
        if not was_done:
            self._show_samples(result.last_step)
        return result

    def set_decoder(self, training: DecoderTrainingConfig, *, default: DecoderName = "sharp") -> None:
        """Plan a second decoder, and say which of the two the pipeline uses by default; see `RunRecord.plan_decoder`.

        The record keeps both when the training begins, and when it ends.

        Raises:
            OutputError: If the folder holds another training of a second decoder.
        """
        self.record.plan_decoder(training, default=default)

    def train_decoder(
        self,
        *,
        minutes: float | None = None,
        more_steps: int = 0,
        network: FeatureNetwork | None = None,
        loss_network_weights: Path | None = None,
    ) -> FitResult:
        """Train the second decoder, or resume its training; then the pipeline has both.

        Codes, and with them priors and files, stay as they are. Where the decoder is trained already, only the default
        decoder is written down, and the network of the loss is not needed.

        Args:
            minutes: Time for this training; None takes its share of the run's, 0 the configured steps.
            more_steps: Steps to take on top, once the training has ended.
            network: In whose feature maps the loss compares images; None takes the `loss_network` of the config.
            loss_network_weights: File of the weights of that network, if no package has them.

        Raises:
            ConfigError: If the run plans no second decoder, the network of the loss is not there, or has no maps; or if
                more steps are asked for before the training has ended.
            CheckpointError: If there is no tokenizer yet, no prior that `drawn_share` needs, or the file is not of the
                network.
            OutputError: If the folder holds another training of a second decoder.
        """
        if not self.config.sharp_decoder:
            raise ConfigError(
                "`sharp_decoder` of the run must be True to train one, got False; call `set_decoder` first"
            )
        images, result = self.images(), None if more_steps else self._trained_decoder()
        if result is None:
            tokenizer, header = load_model(self.directory / TOKENIZER_FOLDER / MODEL_FILE, kind="tokenizer")
            assert isinstance(tokenizer, VQVAE2)
            asked = self.config.decoder_training
            training, maps = find_loss_network(asked, network=network, weights=loss_network_weights)
            self.record.config = replace(self.config, decoder_training=training)  # names the network from now on
            self.listener.say(_about_network(training.loss_network, was_chosen=asked.loss_network == "auto"))
            prior = self._bottom_prior(header.fingerprint) if training.drawn_share else None
            start = None if self._start is None else self._start.sharp_decoder()
            weights = None if start is None else start.state_dict()
            task = DecoderTask(tokenizer, images, training, maps, prior, start=weights)
            result = self._train(-1, task, training, minutes=minutes, more_steps=more_steps)
        else:
            self.listener.stage(DECODER_STAGE, "done before")
            self.record.save()
        self._write_pipeline_config(images)
        return result

    def _bottom_prior(self, tokenizer: str) -> Prior:
        path = self.prior_directory(self.num_levels - 1) / MODEL_FILE
        if not path.exists():
            raise CheckpointError(f"`drawn_share` needs the prior of the bottom, but {path} is missing; train it first")
        prior, _ = load_model(path, kind="prior")
        assert isinstance(prior, Prior)
        if prior.config.tokenizer != tokenizer:
            raise CheckpointError(f"{path} is of another tokenizer; extract codes and train the prior again")
        return prior

    def images(self) -> Images:
        """Open the prepared images."""
        if self._images is None:  # kept, since an index of a million files takes long to read
            self._images = open_prepared(self.directory / "images", on_skipped=announce_skipped(self.listener))
        return self._images

    def codes(self, *, with_flips: bool = False) -> CodeStore:
        """Open the extracted codes.

        Raises:
            CheckpointError: If there are none.
            OutputError: If they are of other views than `config.extraction` asks for, or of none that are mirrored
                although `with_flips` is set.
        """
        directory, command = self.directory / "codes", f"run `vqvae2 extract-codes {self.directory}`"
        if not directory.exists():
            raise CheckpointError(f"{self.directory} has no codes yet; {command} first")
        codes = CodeStore.open(directory)
        has_flips = codes.extraction.horizontal_flips or with_flips  # mirrored views that nobody needs do no harm
        wanted = replace(self.config.extraction, horizontal_flips=has_flips)
        require_same_config(f"{directory} holds codes", codes.extraction, wanted, remedy=f"or delete it and {command}")
        return codes

    def pipeline(self) -> Pipeline:
        """Load what is trained so far to the run's device."""
        return Pipeline.from_pretrained(self.directory).to(self.runtime.device)

    @contextmanager
    def stage(self, name: str, note: str) -> Iterator[None]:
        """Announce a further stage, and record its time."""
        self.runtime.adapt_threads()
        self.listener.stage(name, note)
        with self._timed(name):
            yield

    @cached_property
    def _start(self) -> Start | None:
        """The pipeline that the run starts from."""
        return None if self.config.start_from is None else Start.open(self.config.start_from)

    @property
    def training_stages(self) -> list[TrainingStage]:
        """All trainings of the run, in order: the tokenizer's, the priors', top first, a second decoder's."""
        config = self.config
        shares = training_shares(
            self.num_levels, tokenizer=not config.freeze_tokenizer, sharp_decoder=config.sharp_decoder
        )
        stages = [TrainingStage(self.record, "train tokenizer", self.directory / TOKENIZER_FOLDER, shares.tokenizer)]
        for level, name in enumerate(config.tokenizer.level_names):
            stages.append(
                TrainingStage(self.record, f"train prior, {name}", self.prior_directory(level), shares.priors[level])
            )
        if config.sharp_decoder:
            stages.append(TrainingStage(self.record, DECODER_STAGE, self.directory / SHARP_FOLDER, shares.decoder))
        return stages

    def _train(
        self, stage: int, task: Task, training: TrainingConfig, *, minutes: float | None, more_steps: int
    ) -> FitResult:
        return self.training_stages[stage].train(
            task, training, minutes=minutes, more_steps=more_steps, runtime=self.runtime, listener=self.listener
        )

    def _check_batches(self) -> None:
        """Check that the processes can divide the batch of each training that is still to come."""
        config = self.config
        trainings: dict[str, TrainingConfig] = {"tokenizer_training": config.tokenizer_training}
        for level in range(self.num_levels):
            trainings[f"prior_trainings.{level}"] = config.prior_training(level)
        trainings["decoder_training"] = config.decoder_training
        for stage, (name, training) in zip(self.training_stages, trainings.items(), strict=False):
            if stage.name not in self.record.seconds:
                items_per_process(training, self.runtime.accelerator.num_processes, place=f"{name}.")

    def _trained_decoder(self) -> FitResult | None:
        """Say how the training of the second decoder ended; None if it has not, or if the tokenizer is another one."""
        path = self.directory / SHARP_FOLDER / MODEL_FILE
        if DECODER_STAGE not in self.record.seconds or not path.exists():
            return None
        decoder, tokenizer = map(read_model_file, (path, self.directory / TOKENIZER_FOLDER / MODEL_FILE))
        if not isinstance(decoder.config, DecoderConfig) or decoder.config.tokenizer != tokenizer.fingerprint:
            return None
        step = int(decoder.metadata["step"])
        return FitResult(
            best_step=step,
            last_step=step,
            planned_steps=self.record.steps[DECODER_STAGE],
            validation=dict(decoder.metadata["validation"]),
            seconds=self.record.seconds[DECODER_STAGE],
        )

    def _show_samples(self, step: int) -> None:
        """Show trackers a few samples, once all priors are trained."""
        with self.runtime.tracker.stage("samples"):
            pipeline = self.pipeline() if self.runtime.tracker.is_on else None
            if pipeline is not None and pipeline.config.has_priors:
                self.runtime.tracker.show(step, {"drawn": [pipeline.sample(_SHOWN_SAMPLES)]})

    def _check_level(self, level: int) -> None:
        if not 0 <= level < self.num_levels:
            raise ConfigError(f"`level` must be in 0..{self.num_levels - 1} (0 is the top), got {level}")

    def _write_pipeline_config(self, images: Images) -> None:
        priors = (self.prior_directory(level) / MODEL_FILE for level in range(self.num_levels))
        # The file is there from the first validation on; where no training has begun, it is another pipeline's.
        is_whole = DECODER_STAGE in self.record.seconds or DECODER_STAGE not in self.record.steps
        has_sharp = is_whole and (self.directory / SHARP_FOLDER / MODEL_FILE).exists()
        labels = images.labels[images.indices("train")]
        is_new = not (self.directory / CONFIG_FILE).exists()
        config = PipelineConfig(
            image_size=images.size,
            bit_depth=images.bit_depth,
            classes=images.classes,
            class_counts=tuple(int((labels == index).sum()) for index in range(len(images.classes))),
            has_priors=all(path.exists() for path in priors),
            has_sharp_decoder=has_sharp,
            default_decoder=self.config.default_decoder if has_sharp else "faithful",
            sampling=self.config.sampling if is_new else read_pipeline_config(self.directory).sampling,
        )
        if is_first_process():
            write_pipeline_config(config, self.directory)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.record.seconds[name] = time.perf_counter() - start
        self.record.save()


def _about_network(name: LossNetwork, *, was_chosen: bool) -> str:
    """Say what the loss of a second decoder looks through, and how to give it a network if none could be chosen."""
    if name != "none":
        return f"  the loss looks through the network {name}"
    remedy = "; for features of lite0, stop, pip install 'vqvae2[eval]', and train anew" if was_chosen else ""
    return f"  the loss looks through no network, so the discriminator judges patches of pixels alone{remedy}"
