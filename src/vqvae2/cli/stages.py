"""The verbs that make a pipeline: each stage alone, or all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import tyro

from vqvae2.cli.console import Terminal
from vqvae2.config import (
    QUANTIZER_CONFIGS,
    Device,
    NetworkConfig,
    NetworkFamily,
    PixelSNAILConfig,
    Precision,
    PriorTrainingConfig,
    QuantizerFamily,
    network_of_family,
)
from vqvae2.config.presets import PRESETS, RunConfig, choose_preset, find_preset
from vqvae2.data import BUILTIN_GROUP_PATTERN, BuiltinImages, ImageFolder, ImageSource, open_images, survey_images
from vqvae2.pipeline.pipeline import TOKENIZER_FOLDER
from vqvae2.report import write_run_report
from vqvae2.runs.record import RunRecord
from vqvae2.runs.run import Run
from vqvae2.system.processes import first_decides
from vqvae2.training.runtime import choose_device, choose_runtime
from vqvae2.training.task import Runtime

__all__ = ["Demo", "ExtractCodes", "RunAll", "TrainPrior", "TrainTokenizer", "Trainer", "Verb"]

# The built-in set at its own size, in about five minutes on two CPU cores.
_DEMO = replace(
    PRESETS["cpu64"],
    minutes=5.0,
    images=replace(PRESETS["cpu64"].images, group_pattern=BUILTIN_GROUP_PATTERN),
)


@dataclass(frozen=True, kw_only=True)
class Verb(ABC):
    """What all verbs share."""

    is_shared: ClassVar[bool] = False
    """Whether several processes share the work; else the first does it."""
    json: bool = False
    """Print results as JSON."""

    @abstractmethod
    def run(self, terminal: Terminal) -> dict[str, Any]:
        """Do the work; return what goes to stdout."""

    def with_defaults(self) -> Self:
        """Give the defaults of a second parse, which may depend on what the first one found."""
        return self


@dataclass(frozen=True, kw_only=True)
class Trainer(Verb):
    """What the verbs share that train."""

    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    precision: Precision = "auto"
    """Of products and convolutions; auto takes bfloat16 where it is faster."""
    compile: bool = False
    """Compile the training step: a minute at the start, for faster steps afterwards."""
    shard: bool = False
    """Let several processes divide the weights of priors, with their gradients, averages and optimizer state (FSDP).
    For priors that do not fit one device; else it only costs time."""

    is_shared: ClassVar[bool] = True

    def runtime(self, terminal: Terminal) -> Runtime:
        """Prepare the device."""
        return choose_runtime(self.device, self.precision, compile=self.compile, shard=self.shard, stop=terminal.stop)


@dataclass(frozen=True, kw_only=True)
class _Builder(Trainer):
    """What the verbs share that begin a run from images."""

    out: Path
    """Folder of the run; the same command goes on with a run that was stopped."""
    force: bool = False
    """Remove an earlier run from that folder first, and allow other files in it."""
    dry_run: bool = False
    """Print the resolved config and stop."""
    quantizer: QuantizerFamily | None = None
    """Another way from features to codes than the preset's; its options are then the `tokenizer.quantizer` ones."""
    prior: NetworkFamily | None = None
    """Another family of priors than the preset's, of the same width and depth; its options are the `priors` ones."""
    config: Annotated[RunConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = field(default_factory=RunConfig)

    def source(self) -> ImageSource:
        """Open the images."""
        raise AssertionError("each verb has its own images")

    def with_defaults(self) -> Self:
        return self.with_families()

    def with_families(self) -> Self:
        """Take quantizer and priors of other families, where such are asked for."""
        config = self.config
        if self.quantizer not in (None, config.tokenizer.quantizer.family):
            quantizer = QUANTIZER_CONFIGS[self.quantizer]()
            config = replace(config, tokenizer=replace(config.tokenizer, quantizer=quantizer))
        if self.prior is not None:
            priors = tuple(network_of_family(network, self.prior) for network in config.priors)
            config = replace(config, priors=priors)
        return replace(self, config=config)

    def open_run(self, terminal: Terminal) -> Run:
        """Begin the run, or go on with it."""
        return Run.create(self.out, self.config, runtime=self.runtime(terminal), listener=terminal, force=self.force)


@dataclass(frozen=True, kw_only=True)
class _ImageBuilder(_Builder):
    images_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images; sub-folders are classes. Or Parquet files or tar archives, as a folder or a pattern, or
    `hub:OWNER/NAME`."""
    preset: str = "auto"
    """A preset, see `vqvae2 info`; auto goes by device and image size."""

    def source(self) -> ImageSource:
        return open_images(self.images_folder)

    def with_defaults(self) -> Self:
        """Take the preset's values, or in a folder that holds a run already, that run's."""
        if RunRecord.exists_in(self.out) and not self.force and self.preset == "auto":
            earlier = replace(self, preset="of the earlier run", config=RunRecord.load(self.out).config)
            return earlier.with_families()
        if self.preset != "auto":
            return replace(self, config=find_preset(self.preset)).with_families()
        survey = survey_images(self.source())
        preset = choose_preset(choose_device(self.device).type, survey.short_side)
        config = find_preset(preset)
        config = replace(
            config,
            images=replace(config.images, channels=survey.channels, bit_depth=survey.bit_depth),
            tokenizer=replace(config.tokenizer, in_channels=survey.channels),
        )
        return replace(self, preset=preset, config=config).with_families()


@dataclass(frozen=True, kw_only=True)
class RunAll(_ImageBuilder):
    """Train a tokenizer and priors on a folder of images, draw new images, and write a report.

    Example: vqvae2 run photos --out photos-run --minutes 30
    """

    def run(self, terminal: Terminal) -> dict[str, Any]:
        if self.dry_run:
            return self.config.to_dict()
        height, width = self.config.images.size
        terminal.say(
            f"preset {self.preset} ({height}x{width} pixels), "
            + (f"about {self.config.minutes:g} minutes" if self.config.minutes else "steps as configured")
            + "; change them with --preset and --minutes"
        )
        source = self.source()
        return _run_all(
            self.open_run(terminal),
            source,
            terminal,
            next_images=source.path if isinstance(source, ImageFolder) else None,
        )


@dataclass(frozen=True, kw_only=True)
class Demo(_Builder):
    """Do everything once with the built-in emoji, in about five minutes on two CPU cores.

    Example: vqvae2 demo
    """

    out: Path = Path("vqvae2-demo")
    """Folder of the run; the same command goes on with a run that was stopped."""
    config: Annotated[RunConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = _DEMO

    def source(self) -> ImageSource:
        return BuiltinImages()

    def run(self, terminal: Terminal) -> dict[str, Any]:
        if self.dry_run:
            return self.config.to_dict()
        terminal.say(f"the built-in emoji, about {self.config.minutes:g} minutes; the run goes into {self.out}")
        return _run_all(self.open_run(terminal), self.source(), terminal, next_images=None)


@dataclass(frozen=True, kw_only=True)
class TrainTokenizer(_ImageBuilder):
    """Read a folder of images into a run folder, and train its tokenizer.

    Example: vqvae2 train-tokenizer photos --out photos-run --stage-minutes 20
    """

    stage_minutes: float | None = None
    """Time for this training; None takes its part of the run's `minutes`, 0 the steps as configured."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        if self.dry_run:
            return self.config.to_dict()
        source = self.source()
        run = self.open_run(terminal)
        run.prepare_images(source)
        result = run.train_tokenizer(minutes=self.stage_minutes)
        return {
            "tokenizer": str(run.directory / TOKENIZER_FOLDER),
            "validation": result.validation,
            "seconds": result.seconds,
        }


@dataclass(frozen=True, kw_only=True)
class _Continuation(Trainer):
    """What the verbs share that go on in a run folder."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    def open_run(self, terminal: Terminal) -> Run:
        """Open the run."""
        return Run.open(self.folder, runtime=self.runtime(terminal), listener=terminal)


@dataclass(frozen=True, kw_only=True)
class ExtractCodes(_Continuation):
    """Encode all images of a run with its tokenizer.

    Example: vqvae2 extract-codes photos-run
    """

    def run(self, terminal: Terminal) -> dict[str, Any]:
        codes = self.open_run(terminal).extract_codes()
        return {
            "codes": str(self.folder / "codes"),
            "images": codes.num_images,
            "shapes": [list(shape) for shape in codes.shapes],
            "mirrored_too": codes.has_flipped,
            "tokenizer": codes.fingerprint,
        }


@dataclass(frozen=True, kw_only=True)
class TrainPrior(_Continuation):
    """Train the prior of one level on the codes of a run.

    Example: vqvae2 train-prior photos-run --level 0 --stage-minutes 20
    """

    level: int
    """0 is the top."""
    stage_minutes: float | None = None
    """Time for this training; None takes its part of the run's `minutes`, 0 the steps as configured."""
    prior: NetworkFamily | None = None
    """Another family than the run has for this level, of the same width and depth; its options are `network`'s."""
    network: Annotated[NetworkConfig, tyro.conf.AvoidSubcommands] = field(default_factory=PixelSNAILConfig)
    training: PriorTrainingConfig = field(default_factory=PriorTrainingConfig)

    def with_defaults(self) -> Self:
        """Take the values that the run has for this level."""
        config = RunRecord.load(self.folder).config
        network = config.prior(self.level)
        if self.prior is not None:
            network = network_of_family(network, self.prior)
        return replace(self, network=network, training=config.prior_training(self.level))

    def run(self, terminal: Terminal) -> dict[str, Any]:
        run = self.open_run(terminal)
        run.set_prior(self.level, self.network, self.training)
        result = run.train_prior(self.level, minutes=self.stage_minutes)
        return {
            "prior": str(run.prior_directory(self.level)),
            "validation": result.validation,
            "best_step": result.best_step,
            "last_step": result.last_step,
            "seconds": result.seconds,
        }


def _run_all(run: Run, source: ImageSource, terminal: Terminal, *, next_images: Path | None) -> dict[str, Any]:
    run.prepare_images(source)
    run.train_tokenizer()
    run.extract_codes()
    for level in range(run.num_levels):
        run.train_prior(level)
    next_steps = (
        f"vqvae2 sample {run.directory} --out samples --num-images 64",
        f"vqvae2 evaluate {run.directory}",
        f"vqvae2 reconstruct {next_images or 'IMAGES'} --pipeline {run.directory} --out reconstructions",
        *(() if next_images else ("vqvae2 run IMAGES --out DIR --minutes 30    # the same with a folder of your own",)),
    )
    report, results = first_decides(lambda: write_run_report(run, next_steps=next_steps))
    terminal.say(
        f"\nThe report is {report}; open it in a browser. Its numbers are in {report.parent / 'results.json'}."
    )
    terminal.say("To try next:")
    for step in next_steps:
        terminal.say(f"  {step}")
    return {"report": str(report), **results}
