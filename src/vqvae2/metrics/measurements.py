"""The parts of `Results`: one type per metric, each with the protocol that its numbers were measured under."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import ConfigDict

from vqvae2.config import SamplingConfig
from vqvae2.system.version import __version__

__all__ = [
    "AccuracyResult",
    "CandidateScores",
    "ClassifierAccuracy",
    "DialResult",
    "LevelLikelihood",
    "LevelReconstruction",
    "LikelihoodResult",
    "MeasuringProtocol",
    "MemorizationResult",
    "PixelErrors",
    "QualityResult",
    "RateScores",
    "ReconstructionResult",
    "Scores",
    "SetScores",
    "StrictPart",
    "TuningResult",
    "versions",
]


def versions() -> dict[str, str]:
    """Give the versions of what computes the numbers."""
    return {
        "vqvae2": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


class StrictPart:
    """Base of all parts: reading refuses unknown keys and values of another type."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True)
class MeasuringProtocol(StrictPart):
    """How a number was measured; it stands beside every number.

    One model has been given FIDs of 31 and of 38 under two protocols, so a number without one says little.
    """

    reference: str
    """What was compared with, in words."""
    reference_fingerprint: str
    """Hash of its pixels."""
    num_reference: int
    num_images: int
    """Images of the set that the number describes."""
    image_size: tuple[int, int]
    """Height and width in pixels at which images were compared."""
    resize: str
    """How images of other sizes were brought to it."""
    network: str | None = None
    """Whose features were compared; None where pixels or codes were."""
    network_fingerprint: str | None = None
    """Hash of its weights."""
    preprocessing: str | None = None
    """How images got from `image_size` into the network."""
    sampling: SamplingConfig | None = None
    """How the samples were drawn; None where there are none, and in files from before it was written down."""
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PixelErrors(StrictPart):
    """Errors of reconstructions from all levels, with pixels in [-1, 1]."""

    mse: float
    psnr_db: float
    ssim: float | None
    """At most 1; None for images smaller than its window."""
    num_images: int


@dataclass(frozen=True, kw_only=True)
class LevelReconstruction(StrictPart):
    """What one level keeps of held-out images, and how it uses its codebook."""

    name: str
    num_embeddings: int
    mse_down_to_here: float
    """Error of images that are decoded from this level and those above it."""
    usage: float
    """Share of the codes that occur, 0..1."""
    perplexity: float
    dead_codes: int


@dataclass(frozen=True, kw_only=True)
class ReconstructionResult(StrictPart):
    """Errors of reconstructions; `train` is None where only held-out images were measured. Levels: top first."""

    validation: PixelErrors
    train: PixelErrors | None = None
    levels: tuple[LevelReconstruction, ...]
    protocol: MeasuringProtocol


@dataclass(frozen=True, kw_only=True)
class LevelLikelihood(StrictPart):
    """Mean negative log-likelihood of one level's codes, given the levels above and the class."""

    name: str
    shape: tuple[int, int]
    """Height and width of the code grid."""
    num_embeddings: int
    nll_nats_per_code: float
    """On held-out images."""
    nll_bits_per_code: float
    train_nll_nats_per_code: float
    """On training images, at most 1,024 of them."""
    train_nll_bits_per_code: float
    gap_nats_per_code: float
    """How much more a code of a held-out image costs than one of a training image: what the prior has memorized."""
    uniform_bits_per_code: float
    unigram_nats_per_code: float
    """By how frequent each code is."""
    given_above_nats_per_code: float | None
    """By how frequent each code is under the code above it; None at the top."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodResult(StrictPart):
    """What the codes of held-out images cost under the priors. Levels: top first."""

    levels: tuple[LevelLikelihood, ...]
    bits_per_pixel: float
    bits_per_dim: float
    """Bits per pixel and channel."""
    compression_ratio: float
    """Bits of the raw pixels over bits of the codes."""
    protocol: MeasuringProtocol


@dataclass(frozen=True, kw_only=True)
class Scores(StrictPart):
    """All scores of one set of images against a reference, in features of a network."""

    frechet_distance: float
    """To the reference; the FID where the network is that of the FID. Compares only between sets of equally many
    images, and is biased where these are not many more than there are features."""
    kernel_distance: float
    """To the reference; without such a bias."""
    inception_score: float
    """Of the set alone: how sure the network is of each image, and how varied the set, 1 to its number of classes."""
    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True, kw_only=True)
class SetScores(Scores):
    """Scores of the set of that name."""

    set: str
    frechet_distance_to_held_out: float | None = None
    """To as many held-out images, which for reconstructions are their originals. Unlike a distance to training images
    it does not reward memory. None for held-out images themselves, and in files from before it was measured."""


@dataclass(frozen=True, kw_only=True)
class RateScores(Scores):
    """Scores of the samples that rejection keeps at one rate."""

    acceptance_rate: float
    mean_score: float
    """Mean probability of the intended class of those that are kept."""


@dataclass(frozen=True, kw_only=True)
class QualityResult(StrictPart):
    """Distances to training and to held-out images in features of one network; the protocol is that of the former."""

    sets: tuple[SetScores, ...]
    num_features: int
    protocol: MeasuringProtocol


@dataclass(frozen=True, kw_only=True)
class ClassifierAccuracy(StrictPart):
    """How well one classifier knows real held-out images."""

    trained_on: str
    top1: float
    top5: float | None
    """None if there are five classes or fewer."""
    loss: float
    """In nats."""


@dataclass(frozen=True, kw_only=True)
class AccuracyResult(StrictPart):
    """Classification accuracy scores: of classifiers trained on each kind of image."""

    classifiers: tuple[ClassifierAccuracy, ...]
    num_training_images: int
    num_validation_images: int
    protocol: MeasuringProtocol


@dataclass(frozen=True, kw_only=True)
class DialResult(StrictPart):
    """Scores of one pool of samples against the acceptance rate, in features of one network."""

    rates: tuple[RateScores, ...]
    best_acceptance_rate: float
    """The one of the lowest Fréchet distance."""
    num_samples: int
    """Of the pool."""
    picture: str
    """File beside the results: the first samples that each rate keeps, a row per rate."""
    protocol: MeasuringProtocol


@dataclass(frozen=True, kw_only=True)
class MemorizationResult(StrictPart):
    """How near samples lie to training images, beside how near held-out images do, in features of one network."""

    share_nearer: float
    """Probability that a sample lies nearer to its nearest training image than a held-out image to its own: 1/2 for
    new images of the same kind, near 1 for copies."""
    sample_distance: float
    """Median distance of a sample to its nearest training image, in units of the features."""
    validation_distance: float
    picture: str
    """File beside the results: the samples nearest to a training image, and under each its nearest ones."""
    protocol: MeasuringProtocol


@dataclass(frozen=True, kw_only=True)
class CandidateScores(Scores):
    """Scores of samples that some settings draw; the reference is as many held-out images."""

    sampling: SamplingConfig


@dataclass(frozen=True, kw_only=True)
class TuningResult(StrictPart):
    """What sampling settings cost and give, in features of one network; see `tune_sampling`."""

    candidates: tuple[CandidateScores, ...]
    """In the order in which they were tried; first temperature 1 on all levels."""
    chosen: SamplingConfig
    """By the last search."""
    protocol: MeasuringProtocol

    def scores_of(self, sampling: SamplingConfig) -> CandidateScores | None:
        """Find the scores of some settings; None if they were not tried."""
        words = sampling.in_words  # one value for all levels, and as many equal ones, are the same settings
        return next((scores for scores in self.candidates if scores.sampling.in_words == words), None)
