"""Precision and recall: fidelity and diversity apart, by how two sets of images lie within each other.

The manifold of a set is the union of balls around its images, each of which reaches to the image's k-th nearest
neighbour in the same set. An image is never its own neighbour, but its copy is. An image on the edge of a ball lies
within it, as far as float64 can tell: so sets full of copies, whose balls have no extent, still lie within themselves.

Shapes: S samples, R reference images, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vqvae2.metrics.features import check_sets
from vqvae2.metrics.neighbours import squared_distance_blocks, squared_radii

__all__ = ["PrecisionRecall", "precision_recall"]


class PrecisionRecall(NamedTuple):
    """How much of each set lies on the manifold of the other."""

    precision: float
    """Share of the samples within the reference's manifold, 0..1: how many look real."""
    recall: float
    """Share of the reference within the samples' manifold, 0..1: how much of it could be drawn."""


def precision_recall(
    samples: np.ndarray, reference: np.ndarray, *, k: int = 3, device: torch.device | str = "cpu"
) -> PrecisionRecall:
    """Measure precision and recall of samples; balls reach to the k-th neighbour.

    Take as many samples as the reference has, more than k: balls shrink as sets grow.

    Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", eq. 1 and 2.
    """
    check_sets(f"precision and recall with k = {k}", at_least=k + 1, samples=samples, reference=reference)
    sample_radii, reference_radii = (squared_radii(features, k, device) for features in (samples, reference))
    is_real, is_reached = (torch.zeros(len(radii), dtype=torch.bool) for radii in (sample_radii, reference_radii))
    for rows, columns, squared in squared_distance_blocks(samples, reference, device):
        is_real[rows] |= (squared <= reference_radii[columns]).any(dim=1).cpu()
        is_reached[columns] |= (squared <= sample_radii[rows, None]).any(dim=0).cpu()
    return PrecisionRecall(is_real.double().mean().item(), is_reached.double().mean().item())
