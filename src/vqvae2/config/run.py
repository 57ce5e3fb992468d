"""Configs of whole runs, from images to models, and of their evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field, replace
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import Config, SharesAboveZero, require
from vqvae2.config.classifiers import ClassifierNetworkConfig, ResNetConfig
from vqvae2.config.images import ImageConfig
from vqvae2.config.priors import NetworkConfig, PixelSNAILConfig, SamplingConfig
from vqvae2.config.tokenizer import DecoderName, VQVAE2Config
from vqvae2.config.training import (
    ClassifierTrainingConfig,
    DecoderTrainingConfig,
    PriorTrainingConfig,
    TokenizerTrainingConfig,
)

EvaluationMetric = Literal["reconstruction", "likelihood", "quality", "accuracy", "dial", "memorization"]
"""What an evaluation measures, see `Evaluation`."""

EVALUATION_METRICS: tuple[EvaluationMetric, ...] = get_args(EvaluationMetric)
"""All metrics, in their order."""

_MIN_CLASSIFIER_STEPS = 500
_MAX_AUGMENT = 1000  # so that any file's number of views can be multiplied by that of its images


_is_provisional = ContextVar("is_provisional", default=False)


@contextmanager
def provisional_configs() -> Iterator[None]:
    """Do not check fields of runs against each other, while some have defaults that will be replaced."""
    token = _is_provisional.set(True)
    try:
        yield
    finally:
        _is_provisional.reset(token)


@dataclass(frozen=True, kw_only=True)
class ExtractionConfig(Config):
    """Which views of each training image become codes, beside the image itself. Held-out images have no other views."""

    augment: Annotated[int, Field(ge=0, le=_MAX_AUGMENT)] = 0
    """Further views of each training image, shifted at random by whole pixels, for sets so small that priors memorize
    them. Each takes as much time and disk as the image itself. At each step, a prior is shown one view of an image."""
    max_shift_pixels: PositiveInt = 2
    """Farthest shift along the shorter side of an image, and in proportion along the longer. The border is repeated."""
    horizontal_flips: bool = False
    """Mirror each view as well. A run does so anyway if the training of a prior has `horizontal_flips`."""

    @property
    def num_views(self) -> int:
        """Views of a training image, with the image itself."""
        return (1 + self.augment) * (1 + self.horizontal_flips)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Everything that a run does."""

    minutes: NonNegativeFloat = 30.0
    """Time for the whole run, turned into steps by timing a few of them; 0 takes the steps as configured. Each
    preset has its own."""
    start_from: str | None = None
    """Pipeline whose weights the models start from: its folder, `builtin`, or its id on the Hub. Its tokenizer must
    have the run's config, as `start_config` sees to; a prior that does not fit starts from nothing."""
    freeze_tokenizer: bool = False
    """Keep the tokenizer of `start_from` as it is, so that codes stay comparable, and train the priors alone."""
    images: ImageConfig = field(default_factory=ImageConfig)
    tokenizer: VQVAE2Config = field(default_factory=VQVAE2Config)
    tokenizer_training: TokenizerTrainingConfig = field(default_factory=TokenizerTrainingConfig)
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    priors: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)] = (PixelSNAILConfig(),) * 2
    """The network of each level's prior, top first; the last one also serves all further levels."""
    prior_trainings: Annotated[tuple[PriorTrainingConfig, ...], Field(min_length=1)] = (PriorTrainingConfig(),) * 2
    sharp_decoder: bool = False
    """Also train a second decoder, for sharp pictures, once the priors are trained."""
    default_decoder: DecoderName = "sharp"
    """Which of two decoders the pipeline uses unless another is asked for."""
    decoder_training: DecoderTrainingConfig = field(default_factory=DecoderTrainingConfig)
    num_samples: NonNegativeInt = 64
    """Images to draw at the end."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How the pipeline draws, unless something else is asked for; `tune-sampling` finds what suits it."""

    def __post_init__(self) -> None:
        if _is_provisional.get():
            return
        require(
            self.images.channels == self.tokenizer.in_channels,
            f"`tokenizer.in_channels` must equal `images.channels` ({self.images.channels}), "
            f"got {self.tokenizer.in_channels}",
        )
        require(
            self.start_from is not None or not self.freeze_tokenizer,
            "`freeze_tokenizer` needs a pipeline to take the tokenizer from, got `start_from` None",
        )
        height, width = self.images.size
        require(
            min(height, width) >= self.tokenizer.stride,
            f"`images.size` must be at least {self.tokenizer.stride} pixels each way, the product of "
            f"`tokenizer.strides` {self.tokenizer.strides}, got {height} {width}",
        )

    def prior(self, level: int) -> NetworkConfig:
        """Return the network of a level's prior; level 0 is the top."""
        return self.priors[min(level, len(self.priors) - 1)]

    def prior_training(self, level: int) -> PriorTrainingConfig:
        """Return the training of a level's prior; level 0 is the top."""
        return self.prior_trainings[min(level, len(self.prior_trainings) - 1)]

    def with_prior(self, level: int, network: NetworkConfig, training: PriorTrainingConfig) -> Self:
        """Return the same run with another prior on one level."""
        levels = range(self.tokenizer.num_levels)
        return replace(
            self,
            priors=tuple(network if index == level else self.prior(index) for index in levels),
            prior_trainings=tuple(training if index == level else self.prior_training(index) for index in levels),
        )


@dataclass(frozen=True, kw_only=True)
class ClassifierRunConfig(Config):
    """How images are read, and a classifier is trained on them."""

    images: ImageConfig = field(default_factory=ImageConfig)
    network: ClassifierNetworkConfig = field(default_factory=ResNetConfig)
    training: ClassifierTrainingConfig = field(default_factory=ClassifierTrainingConfig)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """How an evaluation measures."""

    num_samples: NonNegativeInt = 0
    """Samples to draw; 0 draws one per training image, at most 10,000. Each classifier is trained on as many images,
    and the lowest acceptance rate keeps its share of them."""
    num_images: PositiveInt = 10_000
    """Images to compare with the reference set, at most; never more than there are validation images."""
    num_reference: PositiveInt = 50_000
    """Training images of the reference set, at most."""
    acceptance_rates: SharesAboveZero = (1.0, 0.5, 0.2, 0.05)
    """Rates of the quality-diversity dial."""
    sampling: SamplingConfig | None = None
    """How samples are drawn; None takes the pipeline's own settings."""
    classifier_network: ClassifierNetworkConfig = field(default_factory=ResNetConfig)
    """The classifiers that are trained on real images, reconstructions and samples."""
    classifier_epochs: NonNegativeInt = 20
    """Epochs of each classifier, in at least 500 steps; 0 takes the steps of `classifier_training`."""
    classifier_training: ClassifierTrainingConfig = field(default_factory=ClassifierTrainingConfig)
    batch_size: PositiveInt = 64
    """Images at a time, outside of trainings."""
    seed: NonNegativeInt = 0
    """Seed of the samples, and of the choice of images to compare."""

    def training_on(self, num_images: int) -> ClassifierTrainingConfig:
        """Return the training of a classifier on that many images."""
        if not self.classifier_epochs:
            return self.classifier_training
        steps = round(self.classifier_epochs * num_images / self.classifier_training.batch_size)
        return replace(self.classifier_training, steps=max(_MIN_CLASSIFIER_STEPS, steps))


@dataclass(frozen=True, kw_only=True)
class TuningConfig(Config):
    """Which sampling settings a search tries on each level, and how it measures them."""

    temperatures: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = (1.0, 0.95, 0.9, 0.8)
    """Each is tried with each of the `top_p_values`."""
    top_p_values: SharesAboveZero = (1.0, 0.95, 0.9)
    """1 draws from all codes."""
    num_images: PositiveInt = 2_000
    """Images to draw with each setting, and held-out images to compare them with; at most as many as are held out."""
    batch_size: PositiveInt = 64
    """Images at a time."""
    seed: NonNegativeInt = 0
    """Seed of the images that all settings draw, and of the choice of held-out images."""
