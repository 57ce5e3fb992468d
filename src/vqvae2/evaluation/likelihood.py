"""How likely held-out codes are under a hierarchy of priors, in units that say what they count.

These are likelihoods of codes. What the tokenizer loses is not in them, so they do not compare with those of models
that give every pixel a probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vqvae2.config import level_names
from vqvae2.data import CodeStore, evenly_spread
from vqvae2.evaluation.bench import Bench
from vqvae2.metrics.count_baselines import measure_baselines
from vqvae2.metrics.measurements import LevelLikelihood, LikelihoodResult
from vqvae2.models.prior import Prior
from vqvae2.training.prior import measure_nats_per_code
from vqvae2.training.task import Runtime

__all__ = ["bits_per_image", "measure_likelihood", "measure_likelihoods"]

# The training likelihood only shows the gap to the held-out one.
_MOST_TRAINING_IMAGES = 1024


def measure_likelihood(bench: Bench, codes: CodeStore, validation: np.ndarray) -> LikelihoodResult:
    """Measure what held-out and training codes cost under the priors.

    Args:
        bench: With the priors.
        codes: Of all images.
        validation: Numbers of the validation images, for the protocol.
    """
    bench.listener.stage("likelihood", f"codes of {len(validation)} validation images")
    levels = measure_likelihoods(bench.subject.pipeline.priors, codes, runtime=bench.exact_runtime)
    bits = bits_per_image([level.nll_nats_per_code for level in levels], codes.shapes)
    images = bench.subject.images
    num_pixels = math.prod(images.size)
    return LikelihoodResult(
        levels=levels,
        bits_per_pixel=bits / num_pixels,
        bits_per_dim=bits / (num_pixels * images.channels),
        compression_ratio=images.bit_depth * images.channels * num_pixels / bits if bits else math.inf,
        protocol=bench.own_protocol("codes of validation images", validation),
    )


def measure_likelihoods(priors: Sequence[Prior], codes: CodeStore, *, runtime: Runtime) -> tuple[LevelLikelihood, ...]:
    """Measure every level's prior on the codes of a store, and what counts of training codes alone would cost.

    Args:
        priors: One per level, top first, in evaluation mode, on the runtime's device.
        codes: All of its validation images count.
        runtime: Where and in which precision.
    """
    held_out = codes.indices("validation")
    train = evenly_spread(codes.indices("train"), most=_MOST_TRAINING_IMAGES)
    levels = []
    for level, (prior, baselines) in enumerate(zip(priors, measure_baselines(codes), strict=True)):
        nats, train_nats = (
            measure_nats_per_code(prior, codes, indices, runtime=runtime) for indices in (held_out, train)
        )
        levels.append(
            LevelLikelihood(
                name=level_names(len(priors))[level],
                shape=codes.shapes[level],
                num_embeddings=codes.num_embeddings[level],
                nll_nats_per_code=nats,
                nll_bits_per_code=nats / math.log(2.0),
                train_nll_nats_per_code=train_nats,
                train_nll_bits_per_code=train_nats / math.log(2.0),
                gap_nats_per_code=nats - train_nats,
                uniform_bits_per_code=math.log2(codes.num_embeddings[level]),
                unigram_nats_per_code=baselines.unigram_nats_per_code,
                given_above_nats_per_code=baselines.given_above_nats_per_code,
            )
        )
    return tuple(levels)


def bits_per_image(nats_per_code: Sequence[float], shapes: Sequence[tuple[int, int]]) -> float:
    """Give the cost of all codes of an image, by the mean cost of a code of each level and the grids `(h, w)`.

    Divided by height and width in pixels this is bits per pixel; by the channels too, bits per dimension.
    """
    return sum(nats * height * width for nats, (height, width) in zip(nats_per_code, shapes, strict=True)) / math.log(2)
