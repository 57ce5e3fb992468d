"""Density and coverage: how samples fill the balls around reference images, see `precision_recall` for the balls.

Shapes: S samples, R reference images, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vqvae2.metrics.features import check_sets
from vqvae2.metrics.neighbours import squared_distance_blocks, squared_radii

__all__ = ["DensityCoverage", "density_coverage"]


class DensityCoverage(NamedTuple):
    """How samples fill the balls around reference images."""

    density: float
    """Reference balls that a sample lies in, on average, over k: at least 0, about 1 for samples of the reference's own
    distribution, more where they crowd in its densest parts."""
    coverage: float
    """Share of the reference balls with at least one sample, 0..1."""


def density_coverage(
    samples: np.ndarray, reference: np.ndarray, *, k: int = 5, device: torch.device | str = "cpu"
) -> DensityCoverage:
    """Measure density and coverage of samples; unlike precision and recall, no single odd image sways them.

    Balls reach to the k-th neighbour. Take as many samples as the reference has, more than k: coverage grows with S.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", eq. 3 and 4.
    """
    check_sets(f"density and coverage with k = {k}", at_least=k + 1, samples=samples, reference=reference)
    radii = squared_radii(reference, k, device)
    num_within = 0
    is_covered = torch.zeros(len(reference), dtype=torch.bool)
    for _, columns, squared in squared_distance_blocks(samples, reference, device):
        is_within = squared <= radii[columns]
        num_within += int(is_within.sum())
        is_covered[columns] |= is_within.any(dim=0).cpu()
    return DensityCoverage(num_within / (k * len(samples)), is_covered.double().mean().item())
