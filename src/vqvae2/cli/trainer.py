"""What the verbs share that train: they begin a run from images, or continue one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
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
from vqvae2.config.presets import PRESETS, choose_preset, find_preset
from vqvae2.errors import ConfigError

if TYPE_CHECKING:
    from vqvae2.data import ImageSource
    from vqvae2.runs.record import RunRecord
    from vqvae2.training.task import Runtime

__all__ = ["Builder", "Continuation", "ImageBuilder", "ImageStarter", "Trainer"]

_PRESET_HELP = (
    "Name of a preset, see `vqvae2 info`; auto chooses by device and image size. The minutes of each: "
    + ", ".join(f"{name} {config.minutes:g}" for name, config in PRESETS.items())
)


@dataclass(frozen=True, kw_only=True)
class Trainer(Verb):
    """A verb that trains."""

    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: Precision = "auto"
    """Precision of products and convolutions; auto takes bfloat16 where it is faster."""
    compile: bool = False
    """Compile the training step, which takes a minute at the start and makes most steps faster."""
    shard: bool = False
    """Divide the weights and training state of priors among processes (FSDP), for priors that fit no single device."""
    log_to: tuple[TrackerName, ...] | None = None
    """Also show curves, reconstructions and samples in these trackers, each of which needs the extra of its name."""

    is_shared: ClassVar[bool] = True

    def runtime(self, terminal: Terminal, directory: Path) -> Runtime:
        """Prepare the device, and the trackers of the run in a folder."""
        from vqvae2.training.tracking import Tracking

        return vqvae2.choose_runtime(
            self.device,
            self.precision,
            compile=self.compile,
            shard=self.shard,
            stop=terminal.stop,
            tracking=Tracking(self.log_to, directory) if self.log_to else None,
        )


@dataclass(frozen=True, kw_only=True)
class Starter(Trainer):
    """A verb that begins to train in a folder of its own."""

    out: Path
    """Folder to train in; run the same command again to resume a training that was stopped."""
    force: bool = False
    """Remove what an earlier training wrote into the folder first, and allow other files in it."""
    dry_run: bool = False
    """Print the resolved config and stop."""

    @property
    def held(self) -> Path | None:
        return None if self.dry_run else self.out


@dataclass(frozen=True, kw_only=True)
class ImageStarter(Starter):
    """A verb that begins to train on the user's images."""

    images_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images (sub-folders are classes), folder or pattern of Parquet or tar files, or `hub:OWNER/NAME`."""
    reopen: Annotated[Callable[[], Any] | None, tyro.conf.SuppressFixed] = None
    """Returns the images, once they are open: scanning archives takes long."""

    def source(self) -> ImageSource:
        """Open the images, unless they are open."""
        return vqvae2.open_images(self.images_folder) if self.reopen is None else self.reopen()


@dataclass(frozen=True, kw_only=True)
class Builder(Starter):
    """A verb that begins a run."""

    quantizer: QuantizerFamily | None = None
    """Take another kind of quantizer than the preset's; its options are then the `tokenizer.quantizer` ones."""
    from_pipeline: Annotated[str | None, tyro.conf.arg(name="from", metavar="PIPELINE")] = None
    """Start from the weights of a pipeline (folder, `builtin`, or id on the Hub), whose networks and image size are
    then the defaults."""
    prior: NetworkFamily | None = None
    """Take another kind of priors of the preset's width and depth; their options are the `priors` ones."""
    config: Annotated[RunConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = field(default_factory=RunConfig)

    def with_defaults(self) -> Self:
        """Take the quantizer and the priors that are asked for, and a second decoder as the earlier run has it."""
        config, earlier = self.config, self._earlier()
        if earlier is not None:
            config = replace(config, **{name: getattr(earlier.config, name) for name in earlier.may_change})
        if self.from_pipeline is not None and self.from_pipeline != config.start_from:
            from vqvae2.runs.start import start_config

            config = start_config(config, self.from_pipeline)
        if self.quantizer not in (None, config.tokenizer.quantizer.family):
            quantizer = QUANTIZER_CONFIGS[self.quantizer]()
            config = replace(config, tokenizer=replace(config.tokenizer, quantizer=quantizer))
        if self.prior is not None:
            config = replace(config, priors=tuple(network_of_family(prior, self.prior) for prior in config.priors))
        return replace(self, config=config)

    def open_run(self, terminal: Terminal) -> vqvae2.Run:
        """Begin the run, or resume it.

        Raises:
            ConfigError: If the run cannot train its second decoder, or would give it up.
        """
        self._check_decoder()
        runtime = self.runtime(terminal, self.out)
        return vqvae2.Run.create(self.out, self.config, runtime=runtime, listener=terminal, force=self.force)

    def _earlier(self) -> RunRecord | None:
        """Read the record of the run that the folder holds, unless it is to be removed."""
        from vqvae2.runs.record import RunRecord

        return RunRecord.load(self.out) if RunRecord.exists_in(self.out) and not self.force else None

    def _check_decoder(self) -> None:
        from vqvae2.runs.record import DECODER_STAGE

        config, earlier = self.config, self._earlier()
        if earlier is not None and earlier.config.sharp_decoder and not config.sharp_decoder:
            raise ConfigError(
                "`sharp_decoder` must be True for a run that has or plans a second decoder, got False; leave "
                "`--no-sharp-decoder` out, or choose `--default-decoder faithful`"
            )
        is_trained = earlier is not None and DECODER_STAGE in earlier.seconds
        if config.sharp_decoder and config.decoder_training.loss_network == "vgg16" and not is_trained:
            raise ConfigError(
                "`decoder_training.loss_network` must be auto, lite0 or none where no file of weights is given, got "
                f"'vgg16'; leave `--sharp-decoder` out, and then run `vqvae2 train-decoder {self.out} "
                "--training.loss-network vgg16 --loss-network-weights FILE`"
            )


@dataclass(frozen=True, kw_only=True)
class ImageBuilder(Builder, ImageStarter):
    """A verb that begins a run from the user's images."""

    preset: Annotated[str, tyro.conf.arg(help=_PRESET_HELP)] = "auto"
    dry_run: bool = False
    """Tell what the images are, print the resolved config, and stop."""

    def with_defaults(self) -> Self:
        """Take the values of the earlier run in the folder, of the preset, or of the one that suits the images."""
        from vqvae2.data import survey_images

        chosen = self
        if self.preset != "auto":
            chosen = replace(self, config=find_preset(self.preset))
        elif (earlier := self._earlier()) is not None:
            chosen = replace(self, preset="of the earlier run", config=earlier.config)
        else:
            source = self.source()
            survey = survey_images(source)
            preset = choose_preset(vqvae2.choose_device(self.device).type, survey.short_side)
            config = find_preset(preset)
            images = replace(config.images, channels=survey.channels, bit_depth=survey.bit_depth)
            tokenizer = replace(config.tokenizer, in_channels=survey.channels)
            config = replace(config, images=images, tokenizer=tokenizer)
            chosen = replace(self, reopen=lambda: source, preset=preset, config=config)
        return super(ImageBuilder, chosen).with_defaults()

    def plan(self, terminal: Terminal) -> RunConfig:
        """Tell what the images are, and return the config."""
        from vqvae2.runs.images import announce_images

        announce_images(self.source(), self.config.images, terminal)
        return self.config


@dataclass(frozen=True, kw_only=True)
class Continuation(Trainer):
    """A verb that does one stage of a run."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    @property
    def held(self) -> Path | None:
        return self.folder if self.folder.is_dir() else None

    def open_run(self, terminal: Terminal) -> vqvae2.Run:
        return vqvae2.Run.open(self.folder, runtime=self.runtime(terminal, self.folder), listener=terminal)
