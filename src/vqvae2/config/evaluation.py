"""Config of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from vqvae2.config.base import Config, require, require_not_negative, require_positive
from vqvae2.config.classifiers import ClassifierNetworkConfig, ResNetConfig
from vqvae2.config.procedures import ClassifierTrainingConfig, SamplingConfig

__all__ = ["EVALUATION_METRICS", "EvaluationConfig", "EvaluationMetric"]

EvaluationMetric = Literal["reconstruction", "likelihood", "quality", "accuracy", "dial", "memorization"]
"""What an evaluation measures, see `Evaluation`."""

EVALUATION_METRICS: tuple[EvaluationMetric, ...] = get_args(EvaluationMetric)
"""All of them, in their order."""

_FEWEST_STEPS = 500


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """How an evaluation measures."""

    num_samples: int = 0
    """Samples to draw. Classifiers are trained on as many images, and the lowest acceptance rate keeps its share of
    them. 0 draws one for each training image, but at most 10,000."""
    num_images: int = 10_000
    """Images that are compared with the reference set, at most; never more than there are validation images."""
    num_reference: int = 50_000
    """Training images of the reference set, at most."""
    acceptance_rates: tuple[float, ...] = (1.0, 0.5, 0.2, 0.05)
    """Rates of the quality-diversity dial."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How samples are drawn."""
    classifier_network: ClassifierNetworkConfig = field(default_factory=ResNetConfig)
    """The classifiers that are trained on real images, reconstructions and samples."""
    classifier_epochs: int = 20
    """How often each of them sees its images, for 500 steps at least; 0 takes the steps of `classifier_training`."""
    classifier_training: ClassifierTrainingConfig = field(default_factory=ClassifierTrainingConfig)
    batch_size: int = 64
    """Images at a time, where none are trained on."""
    seed: int = 0
    """Of the samples, and of which images are compared."""

    def __post_init__(self) -> None:
        require_not_negative(self, "num_samples", "classifier_epochs", "seed")
        require_positive(self, "num_images", "num_reference", "batch_size")
        require(bool(self.acceptance_rates), "`acceptance_rates` must hold at least one rate, got none")
        for rate in self.acceptance_rates:
            require(0.0 < rate <= 1.0, f"`acceptance_rates` must be in 0..1, 0 excluded, got {rate}")

    def training_on(self, num_images: int) -> ClassifierTrainingConfig:
        """Give the training of a classifier on that many images."""
        if not self.classifier_epochs:
            return self.classifier_training
        steps = round(self.classifier_epochs * num_images / self.classifier_training.batch_size)
        return replace(self.classifier_training, steps=max(_FEWEST_STEPS, steps))
