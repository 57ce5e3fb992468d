"""Configs of what is done with images and models: reading, training, sampling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from vqvae2.config.base import Config, require, require_below_one, require_not_negative, require_positive
from vqvae2.errors import ConfigError
from vqvae2.images import MAX_PIXELS, Resize

__all__ = [
    "ClassifierTrainingConfig",
    "Device",
    "ImageConfig",
    "LevelSampling",
    "Precision",
    "PriorTrainingConfig",
    "SamplingConfig",
    "TokenizerTrainingConfig",
    "TrainingConfig",
]

Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Schedule = Literal["cosine", "constant"]


@dataclass(frozen=True, kw_only=True)
class ImageConfig(Config):
    """How images are read and split."""

    size: tuple[int, int] = (64, 64)
    """Height and width in pixels that every image gets."""
    channels: int = 3
    """1 grey, 3 RGB, 4 RGB with transparency."""
    bit_depth: int = 8
    """Bits of each value of a pixel: 8, or 16 for grey images whose finer steps count."""
    resize: Resize = "crop"
    """How an image gets to that shape: crop covers it and cuts evenly, pad fits inside and adds a border (white;
    transparent where there are 4 channels), stretch changes the aspect ratio."""
    validation_fraction: float = 0.1
    """Share of the images held out, chosen by a hash of the file name."""
    group_pattern: str | None = None
    """Regular expression on the path; files with the same first group stay on one side of the split."""
    stream: bool = False
    """Read and decode images as they are needed, and keep no decoded copy: for sets that do not fit the disk twice."""

    def __post_init__(self) -> None:
        height, width = self.size
        require(min(self.size) > 0, f"`size` must be a height and a width above 0, got {height} {width}")
        require(
            height * width <= MAX_PIXELS, f"`size` must be at most {MAX_PIXELS} pixels in all, got {height} {width}"
        )
        require(self.channels in (1, 3, 4), f"`channels` must be 1, 3 or 4, got {self.channels}")
        require(self.bit_depth in (8, 16), f"`bit_depth` must be 8 or 16, got {self.bit_depth}")
        require(
            self.bit_depth == 8 or self.channels == 1,
            f"`bit_depth` must be 8 unless `channels` is 1, got {self.bit_depth} for {self.channels} channels; "
            "set one of the two",
        )
        require(
            0.0 < self.validation_fraction < 1.0,
            f"`validation_fraction` must lie between 0 and 1, got {self.validation_fraction}",
        )
        try:
            re.compile(self.group_pattern or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"`group_pattern` must be a regular expression, got {self.group_pattern!r}: {error}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """One training, of any model."""

    steps: int = 2000
    """Optimizer steps."""
    batch_size: int = 64
    """Images a step."""
    accumulation: int = 1
    """Parts of a step's images whose gradients are added up, to save memory; divides `batch_size`."""
    learning_rate: float = 1e-3
    """The highest rate."""
    schedule: Schedule = "cosine"
    """After the warm-up the rate falls to nothing along a cosine, or stays constant."""
    warmup_fraction: float = 0.05
    """Share of the steps over which the rate rises linearly from nothing."""
    weight_decay: float = 0.01
    """AdamW's, on the weights of convolutions and linear layers."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    ema_decay: float = 0.999
    """Decay of the moving average of the weights that is validated and saved; 0 takes the weights themselves."""
    max_validations: int = 20
    """A validation follows each epoch, but if these are too many, only this number of them; the last step always."""
    patience: int = 0
    """Validations in a row without a better score after which the training ends; 0 for never. The model that is kept is
    the best validated one either way. The schedule is laid out over all `steps`, so a training that ends early has not
    seen the low rates at the end of its cosine; if it ends long before, ask for fewer `steps`."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints from which training can go on; the last step always writes one."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept; if the newest is damaged, training goes on from the one before."""
    seed: int = 0
    """Of initialization, order, flips and dropout."""

    def __post_init__(self) -> None:
        require_positive(
            self, "steps", "batch_size", "accumulation", "learning_rate", "max_grad_norm", "max_validations"
        )
        require_positive(self, "keep_checkpoints")
        require(
            self.batch_size % self.accumulation == 0,
            f"`accumulation` must divide `batch_size` ({self.batch_size}), got {self.accumulation}",
        )
        require(
            self.schedule in ("cosine", "constant"), f"`schedule` must be 'cosine' or 'constant', got {self.schedule!r}"
        )
        require_below_one(self, "ema_decay")
        require(0.0 <= self.warmup_fraction <= 1.0, f"`warmup_fraction` must be in 0..1, got {self.warmup_fraction}")
        require_not_negative(self, "weight_decay", "patience", "checkpoint_seconds", "seed")


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainingConfig(TrainingConfig):
    """The training of a tokenizer."""

    horizontal_flips: bool = False
    """Mirror half of the training images at random."""


@dataclass(frozen=True, kw_only=True)
class PriorTrainingConfig(TrainingConfig):
    """The training of a prior."""

    patience: int = 5
    """Validations in a row without a better score after which the training ends and keeps its best model; 0 for never.
    A prior memorizes a small set of images long before it has seen all `steps`, over which the rate's schedule is laid
    out nonetheless. Five is a quarter of the default `max_validations`."""
    label_dropout: float = 0.1
    """Share of images whose class the prior does not see, so that it can also be used without one."""
    horizontal_flips: bool = False
    """Show the prior the codes of mirrored images in the place of half of the training images, at random at each step;
    extraction then keeps those codes too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 <= self.label_dropout <= 1.0, f"`label_dropout` must be in 0..1, got {self.label_dropout}")


@dataclass(frozen=True, kw_only=True)
class ClassifierTrainingConfig(TrainingConfig):
    """The training of a classifier."""

    steps: int = 4000
    """Optimizer steps."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 2e-3
    """The highest rate."""
    weight_decay: float = 0.05
    """AdamW's, on the weights of convolutions and linear layers."""
    ema_decay: float = 0.99
    """Decay of the moving average of the weights that is validated and saved; 0 takes the weights themselves. The
    average must be a short one, since its batch norms take the statistics of the last few steps."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes (Szegedy et al. 2016, sec. 7)."""
    horizontal_flips: bool = True
    """Mirror half of the training images at random; not for digits and letters."""
    shift_fraction: float = 0.125
    """Each training image is moved at random by up to this share of its height and width, and its border repeated. A
    share, so that one default suits all sizes; this one is the customary 4 pixels of 32. 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_below_one(self, "label_smoothing", "shift_fraction")


class LevelSampling(NamedTuple):
    """How the codes of one level are drawn; see `SamplingConfig`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Config):
    """How codes are drawn from a prior's probabilities.

    The first three give a value for each level, top first; the last value stands for further levels too.
    """

    temperature: tuple[float, ...] = (1.0,)
    """Divides the logits: below 1 for likelier images, above 1 for more varied ones; 0 takes the likeliest code. One
    value for all levels, or one a level, top first."""
    top_k: tuple[int, ...] = (0,)
    """Draw from the k likeliest codes only; 0 for all. One value, or one a level."""
    top_p: tuple[float, ...] = (1.0,)
    """Draw from the fewest codes whose probabilities reach this sum only. One value, or one a level."""
    guidance_scale: float = 1.0
    """Above 1 for images that are more typical of their class, at twice the time; 1 takes the priors as they are. Needs
    a class, and priors that were trained with `label_dropout`."""

    def __post_init__(self) -> None:
        for name in LevelSampling._fields:
            values = getattr(self, name)
            require(isinstance(values, tuple), f"`{name}` must be a tuple, one value a level, got {values!r}")
            require(bool(values), f"`{name}` must hold at least one value, got none")
        for name in ("temperature", "top_k"):
            lowest = min(getattr(self, name))
            require(lowest >= 0, f"`{name}` must be at least 0, got {lowest}")
        for share in self.top_p:
            require(0.0 < share <= 1.0, f"`top_p` must be in 0..1, 0 excluded, got {share}")
        require_not_negative(self, "guidance_scale")

    def level(self, level: int) -> LevelSampling:
        """How the codes of a level are drawn; 0 is the top."""
        values = (getattr(self, name) for name in LevelSampling._fields)
        return LevelSampling(*(entries[min(level, len(entries) - 1)] for entries in values))
