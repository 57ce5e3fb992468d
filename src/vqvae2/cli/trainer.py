"""What the verbs share that train: on a device, from images to a run, or further in a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import tyro

from vqvae2.cli.verb import Verb
from vqvae2.config import (
    QUANTIZER_CONFIGS,
    Device,
    NetworkFamily,
    Precision,
    QuantizerFamily,
    RunConfig,
    TrackerName,
    network_of_family,
)
from vqvae2.config.presets import choose_preset, find_preset

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal
    from vqvae2.data import ImageSource
    from vqvae2.runs.run import Run
    from vqvae2.training.task import Runtime

__all__ = ["Builder", "Continuation", "ImageBuilder", "Trainer"]


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
    log_to: tuple[TrackerName, ...] | None = None
    """Also show curves, reconstructions and samples in these trackers. Each needs the extra of its name."""

    is_shared: ClassVar[bool] = True

    def runtime(self, terminal: Terminal, directory: Path) -> Runtime:
        """Prepare the device, and the trackers of the run in a folder."""
        from vqvae2.training.runtime import choose_runtime
        from vqvae2.training.tracking import Tracking

        return choose_runtime(
            self.device,
            self.precision,
            compile=self.compile,
            shard=self.shard,
            stop=terminal.stop,
            tracking=Tracking(self.log_to, directory) if self.log_to else None,
        )


@dataclass(frozen=True, kw_only=True)
class Builder(Trainer):
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
        from vqvae2.runs.run import Run

        return Run.create(
            self.out, self.config, runtime=self.runtime(terminal, self.out), listener=terminal, force=self.force
        )


@dataclass(frozen=True, kw_only=True)
class ImageBuilder(Builder):
    images_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images; sub-folders are classes. Or Parquet files or tar archives, as a folder or a pattern, or
    `hub:OWNER/NAME`."""
    preset: str = "auto"
    """A preset, see `vqvae2 info`; auto goes by device and image size."""

    def source(self) -> ImageSource:
        from vqvae2.data import open_images

        return open_images(self.images_folder)

    def with_defaults(self) -> Self:
        """Take the preset's values, or in a folder that holds a run already, that run's."""
        from vqvae2.data import survey_images
        from vqvae2.runs.record import RunRecord
        from vqvae2.training.runtime import choose_device

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
class Continuation(Trainer):
    """What the verbs share that go on in a run folder."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    def open_run(self, terminal: Terminal) -> Run:
        """Open the run."""
        from vqvae2.runs.run import Run

        return Run.open(self.folder, runtime=self.runtime(terminal, self.folder), listener=terminal)
