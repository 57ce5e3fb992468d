"""Whether samples are copies of training images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vqvae2.metrics.neighbours import nearest_neighbours

__all__ = ["Memorization", "measure_memorization"]


class Memorization(NamedTuple):
    """How near samples lie to training images, beside how near held-out images do; see `MemorizationResult`."""

    share_nearer: float
    sample_distance: float
    validation_distance: float
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
    """Find the nearest training images of samples and of held-out images.

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
    """Give the share of all pairs in which the value of `a` is smaller than that of `b`; equal ones count half."""
    ordered = np.sort(b)
    below = len(b) - np.searchsorted(ordered, a, side="right")
    equal = np.searchsorted(ordered, a, side="right") - np.searchsorted(ordered, a, side="left")
    return float((below + 0.5 * equal).mean() / len(b))
