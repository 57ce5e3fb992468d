"""How near a set of images is to a reference set, as a network sees both."""

from __future__ import annotations

import numpy as np
import torch

from vqvae2.evaluation.features import FeatureSet
from vqvae2.metrics.density_coverage import density_coverage
from vqvae2.metrics.frechet_distance import frechet_distance, gaussian_statistics
from vqvae2.metrics.inception_score import inception_score
from vqvae2.metrics.kernel_distance import kernel_distance
from vqvae2.metrics.measurements import Scores
from vqvae2.metrics.precision_recall import precision_recall

__all__ = ["measure_quality"]


def measure_quality(
    found: FeatureSet, indices: np.ndarray | slice, reference: FeatureSet, *, device: torch.device
) -> Scores:
    """Compare some images of a set with a reference set.

    Precision, recall, density and coverage depend on how many images both sides have, so they take as many of the
    reference as there are images, from its start; so does the kernel distance, which sees as many pairs on each side.
    The Fréchet distance takes all of the reference.

    Args:
        found: The set.
        indices: Which of its images, int64 `(N,)` or a slice.
        reference: The reference set, seen by the same network.
        device: Where to compute.

    Raises:
        DataError: If a set has too few images; the message gives the least count.
    """
    features, logits = found.features[indices], found.logits[indices]
    nearby = reference.features[: len(features)]
    precision, recall = precision_recall(features, nearby, device=device)
    density, coverage = density_coverage(features, nearby, device=device)
    statistics = gaussian_statistics(features, device=device)
    return Scores(
        frechet_distance=frechet_distance(statistics, reference.statistics, device=device),
        kernel_distance=kernel_distance(features, nearby, device=device),
        inception_score=inception_score(logits),
        precision=precision,
        recall=recall,
        density=density,
        coverage=coverage,
    )
