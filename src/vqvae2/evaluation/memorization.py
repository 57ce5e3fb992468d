"""Whether samples are copies of training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vqvae2.metrics.neighbours import nearest_neighbours

__all__ = ["Memorization", "measure_memorization"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Memorization:
    """How near samples lie to training images, beside how near held-out images do."""

    share_nearer: float
    """Probability that a sample lies nearer to its nearest training image than a held-out image to its own: 1/2 for
    new images of the same kind, near 1 for copies."""
    sample_distance: float
    """Median distance of a sample to its nearest training image, in units of the features."""
    validation_distance: float
    """That of a held-out image."""
    nearest_samples: np.ndarray
    """Numbers of the samples that lie nearest to a training image, the nearest first, int64 `(M,)`."""
    neighbours: np.ndarray
    """Numbers of the training images nearest to each of these, nearest first, int64 `(M, k)`."""


def measure_memorization(
    samples: np.ndarray,
    validation: np.ndarray,
    training: np.ndarray,
    *,
    num_shown: int,
    num_neighbours: int = 3,
    device: torch.device,
) -> Memorization:
    """Look for the nearest training images of samples and of held-out images.

    The share is the statistic of a Mann-Whitney test of the two sets of distances, as a test for data copying proposes
    (Meehan, Chaudhuri & Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models").

    Args:
        samples: Features, float32 `(S, D)`.
        validation: Features of held-out images, float32 `(V, D)`.
        training: Features of training images, float32 `(T, D)`.
        num_shown: How many of the nearest samples to name.
        num_neighbours: How many training images to name for each.
        device: Where to compute.

    Raises:
        DataError: If there are fewer than `num_neighbours` training images.
    """
    found = nearest_neighbours(samples, training, k=num_neighbours, device=device)
    of_samples = found.distances[:, 0]
    of_validation = nearest_neighbours(validation, training, k=1, device=device).distances[:, 0]
    nearest = np.argsort(of_samples, kind="stable")[:num_shown]
    return Memorization(
        share_nearer=_share_below(of_samples, of_validation),
        sample_distance=float(np.median(of_samples)),
        validation_distance=float(np.median(of_validation)),
        nearest_samples=nearest,
        neighbours=found.indices[nearest],
    )


def _share_below(a: np.ndarray, b: np.ndarray) -> float:
    """Share of all pairs of a value of each in which that of `a` is the smaller one; equal ones count half."""
    ordered = np.sort(b)
    below = len(b) - np.searchsorted(ordered, a, side="right")
    equal = np.searchsorted(ordered, a, side="right") - np.searchsorted(ordered, a, side="left")
    return float((below + 0.5 * equal).mean() / len(b))
