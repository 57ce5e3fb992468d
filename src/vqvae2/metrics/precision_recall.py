"""Fidelity and diversity apart: how two sets of images lie within each other in a feature space.

A set's manifold is the union of balls around its images, each of which reaches to the image's k-th nearest neighbour in
the same set. An image is never its own neighbour, but its copy is. An image on the edge of a ball lies within it, as
far as float64 can tell, so that sets full of copies, whose balls have no extent, are still within themselves.

Shapes: S samples, R reference images, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vqvae2.metrics.features import check_counts, check_dimensions, common_mean, float64_device, row_blocks
from vqvae2.metrics.neighbours import nearest_neighbours, squared_distances

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "precision_recall"]


@dataclass(frozen=True)
class PrecisionRecall:
    """How much of each set lies on the manifold of the other."""

    precision: float
    """Share of the samples within the reference's manifold, 0..1: how many look real."""
    recall: float
    """Share of the reference within the samples' manifold, 0..1: how much of it could be drawn."""


@dataclass(frozen=True)
class DensityCoverage:
    """How samples fill the balls around reference images."""

    density: float
    """Reference balls that a sample lies in, on average, over k: at least 0, about 1 for samples of the reference's own
    distribution, more where they crowd in its densest parts."""
    coverage: float
    """Share of the reference balls with at least one sample, 0..1."""


def precision_recall(
    samples: np.ndarray, reference: np.ndarray, *, k: int = 3, device: torch.device | str = "cpu"
) -> PrecisionRecall:
    """Measure precision and recall of samples.

    Args:
        samples: float `(S, D)`, S > k; may be mapped into memory. Take as many as the reference has: balls shrink as
            sets grow.
        reference: float `(R, D)`, R > k; likewise.
        k: The neighbour to which a ball reaches, at least 1.
        device: Where to compute.

    Raises:
        ValueError: If `k` is below 1.
        DataError: If a set has too few images, dimensions differ, or features are not finite.

    Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", eq. 1 and 2.
    """
    check_counts(f"precision and recall with k = {k}", at_least=k + 1, samples=samples, reference=reference)
    check_dimensions(samples=samples, reference=reference)
    sample_radii, reference_radii = (_squared_radii(features, k, device) for features in (samples, reference))
    is_real, is_reached = (torch.zeros(len(radii), dtype=torch.bool) for radii in (sample_radii, reference_radii))
    for rows, columns, squared in _squared_distance_blocks(samples, reference, device):
        is_real[rows] |= (squared <= reference_radii[columns]).any(dim=1).cpu()
        is_reached[columns] |= (squared <= sample_radii[rows, None]).any(dim=0).cpu()
    return PrecisionRecall(_share(is_real), _share(is_reached))


def density_coverage(
    samples: np.ndarray, reference: np.ndarray, *, k: int = 5, device: torch.device | str = "cpu"
) -> DensityCoverage:
    """Measure density and coverage of samples; unlike precision and recall, no single odd image sways them.

    Args:
        samples: float `(S, D)`, S > k; may be mapped into memory. Take as many as the reference has: coverage grows
            with S.
        reference: float `(R, D)`, R > k; likewise.
        k: The neighbour to which a ball reaches, at least 1.
        device: Where to compute.

    Raises:
        ValueError: If `k` is below 1.
        DataError: If a set has too few images, dimensions differ, or features are not finite.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", eq. 3 and 4.
    """
    check_counts(f"density and coverage with k = {k}", at_least=k + 1, samples=samples, reference=reference)
    check_dimensions(samples=samples, reference=reference)
    radii = _squared_radii(reference, k, device)
    num_within = 0
    is_covered = torch.zeros(len(reference), dtype=torch.bool)
    for _, columns, squared in _squared_distance_blocks(samples, reference, device):
        is_within = squared <= radii[columns]
        num_within += int(is_within.sum())
        is_covered[columns] |= is_within.any(dim=0).cpu()
    return DensityCoverage(num_within / (k * len(samples)), _share(is_covered))


def _squared_radii(features: np.ndarray, k: int, device: torch.device | str) -> Tensor:
    """Square the distance of each image to its k-th nearest neighbour: float64 `(N,)`."""
    radii = nearest_neighbours(features, k=k, device=device).distances[:, -1]
    return torch.from_numpy(np.square(radii)).to(float64_device(device))


def _squared_distance_blocks(
    samples: np.ndarray, reference: np.ndarray, device: torch.device | str
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Walk over all pairs: rows of samples and reference, and their squared distances less what rounding may add."""
    centre = common_mean(samples, reference, device=device)
    for rows, block in row_blocks(samples, centre=centre, device=device):
        for columns, other in row_blocks(reference, centre=centre, device=device):
            squared, rounding = squared_distances(block, other)
            yield rows, columns, squared - rounding


def _share(flags: Tensor) -> float:
    return flags.double().mean().item()
