"""How likely held-out codes are under a hierarchy of priors, in units that say what they count.

These are likelihoods of codes. What the tokenizer loses is not in them, so they do not compare with those of models
that give every pixel a probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vqvae2.data import CodeStore, evenly_spread
from vqvae2.metrics.baselines import LevelBaselines, measure_baselines
from vqvae2.models.prior import Prior
from vqvae2.training.prior import measure_nats_per_code
from vqvae2.training.task import Runtime

__all__ = ["LevelLikelihood", "bits_per_image", "measure_likelihoods"]

# The training likelihood only stands beside the validation one, to show the gap.
_MOST_TRAINING_IMAGES = 1024


@dataclass(frozen=True, kw_only=True)
class LevelLikelihood:
    """Mean negative log-likelihood of one level's codes, given the levels above and the class."""

    num_embeddings: int
    validation_nats_per_code: float
    train_nats_per_code: float
    """On training images, at most 1,024 of them."""
    baselines: LevelBaselines

    @property
    def gap_nats_per_code(self) -> float:
        """How much more a code of an image that was not trained on costs: what the prior has memorized."""
        return self.validation_nats_per_code - self.train_nats_per_code

    def to_dict(self) -> dict[str, float | None]:
        """Give all numbers by the names that they have in `results.json`."""
        return {
            "nll_nats_per_code": self.validation_nats_per_code,
            "nll_bits_per_code": self.validation_nats_per_code / math.log(2.0),
            "train_nll_nats_per_code": self.train_nats_per_code,
            "train_nll_bits_per_code": self.train_nats_per_code / math.log(2.0),
            "gap_nats_per_code": self.gap_nats_per_code,
            "uniform_bits_per_code": math.log2(self.num_embeddings),
            "unigram_nats_per_code": self.baselines.unigram_nats_per_code,
            "given_above_nats_per_code": self.baselines.given_above_nats_per_code,
        }


def measure_likelihoods(priors: Sequence[Prior], codes: CodeStore, *, runtime: Runtime) -> tuple[LevelLikelihood, ...]:
    """Measure every level's prior, and the baselines beside it, on the codes of a store.

    Args:
        priors: One a level, top first, in evaluation mode, on the runtime's device.
        codes: All of the validation images count.
        runtime: Where and in which precision.
    """
    train = evenly_spread(codes.indices("train"), most=_MOST_TRAINING_IMAGES)
    return tuple(
        LevelLikelihood(
            num_embeddings=size,
            validation_nats_per_code=measure_nats_per_code(prior, codes, codes.indices("validation"), runtime=runtime),
            train_nats_per_code=measure_nats_per_code(prior, codes, train, runtime=runtime),
            baselines=baselines,
        )
        for prior, size, baselines in zip(priors, codes.num_embeddings, measure_baselines(codes), strict=True)
    )


def bits_per_image(nats_per_code: Sequence[float], shapes: Sequence[tuple[int, int]]) -> float:
    """Give the cost of all codes of an image.

    Divided by height and width in pixels this is bits per pixel; by the channels too, bits per dimension.

    Args:
        nats_per_code: Mean cost of a code of each level.
        shapes: Grid `(h, w)` of each level.
    """
    return sum(nats * height * width for nats, (height, width) in zip(nats_per_code, shapes, strict=True)) / math.log(2)
