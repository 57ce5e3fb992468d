"""How near a set of images is to a reference set, as a network sees both."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from vqvae2.metrics.frechet_distance import GaussianStatistics, frechet_distance, gaussian_statistics
from vqvae2.metrics.inception_score import inception_score
from vqvae2.metrics.kernel_distance import kernel_distance
from vqvae2.metrics.precision_recall import density_coverage, precision_recall

__all__ = ["Quality", "measure_quality"]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """All scores of one set of images against a reference."""

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

    def to_dict(self) -> dict[str, float]:
        """Give all scores by name."""
        return asdict(self)


def measure_quality(
    features: np.ndarray,
    logits: np.ndarray,
    *,
    reference: np.ndarray,
    reference_statistics: GaussianStatistics,
    device: torch.device,
) -> Quality:
    """Compare images with a reference set.

    Precision, recall, density and coverage depend on how many images both sides have, so they take as many of the
    reference as there are images, from its start; so does the kernel distance, which sees as many pairs on each side.
    The Fréchet distance takes all of the reference.

    Args:
        features: Of the images, float32 `(N, D)`; may be mapped into memory, as all that follow.
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
    return Quality(
        frechet_distance=frechet_distance(
            gaussian_statistics(features, device=device), reference_statistics, device=device
        ),
        kernel_distance=kernel_distance(features, nearby, device=device),
        inception_score=inception_score(logits).mean,
        precision=manifold.precision,
        recall=manifold.recall,
        density=filling.density,
        coverage=filling.coverage,
    )
