"""Config of an evaluation."""

from dataclasses import field, replace
from typing import Literal, get_args

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import Config, SharesAboveZero
from vqvae2.config.classifiers import ClassifierNetworkConfig, ResNetConfig
from vqvae2.config.sampling import SamplingConfig
from vqvae2.config.training import ClassifierTrainingConfig

EvaluationMetric = Literal["reconstruction", "likelihood", "quality", "accuracy", "dial", "memorization"]
"""What an evaluation measures, see `Evaluation`."""

EVALUATION_METRICS: tuple[EvaluationMetric, ...] = get_args(EvaluationMetric)
"""All metrics, in their order."""

_MIN_CLASSIFIER_STEPS = 500


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
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How samples are drawn."""
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
