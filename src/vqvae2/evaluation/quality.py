"""How near a set of images is to a reference set, as a network sees both."""

from __future__ import annotations

import numpy as np
import torch

from vqvae2.metrics.density_coverage import density_coverage
from vqvae2.metrics.frechet_distance import GaussianStatistics, frechet_distance, gaussian_statistics
from vqvae2.metrics.inception_score import inception_score
from vqvae2.metrics.kernel_distance import kernel_distance
from vqvae2.metrics.measurements import Scores
from vqvae2.metrics.precision_recall import precision_recall

__all__ = ["measure_quality"]


def measure_quality(
    features: np.ndarray,
    logits: np.ndarray,
    *,
    reference: np.ndarray,
    reference_statistics: GaussianStatistics,
    device: torch.device,
) -> Scores:
    """Compare images with a reference set.

    Precision, recall, density and coverage depend on how many images both sides have, so they take as many of the
    reference as there are images, from its start; so does the kernel distance, which sees as many pairs on each side.
    The Fréchet distance takes all of the reference.

    Args:
        features: Of the images, float32 `(N, D)`; may be mapped into memory, like all other arrays here.
        logits: Of the images, float32 `(N, K)`.
        reference: Features of the reference set, float32 `(R, D)`.
        reference_statistics: Of all of these.
        device: Where to compute.

    Raises:
        DataError: If a set has too few images; the message gives the least count.
    """
    nearby = reference[: len(features)]
    manifold = precision_recall(features, nearby, device=device)
    filling = density_coverage(features, nearby, device=device)
    return Scores(
        frechet_distance=frechet_distance(
            gaussian_statistics(features, device=device), reference_statistics, device=device
        ),
        kernel_distance=kernel_distance(features, nearby, device=device),
        inception_score=inception_score(logits),
        precision=manifold.precision,
        recall=manifold.recall,
        density=filling.density,
        coverage=filling.coverage,
    )
