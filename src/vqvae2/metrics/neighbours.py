"""Which images are nearest in a feature space, found block by block.

Shapes: Q queries, N images of a set, D features, k neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqvae2.metrics.features import check_sets, common_mean, float64_device, row_blocks

__all__ = [
    "Neighbours",
    "nearest_neighbours",
    "share_nearer",
    "squared_distance_blocks",
    "squared_distances",
    "squared_radii",
]


class Neighbours(NamedTuple):
    """The k nearest images of each query, nearest first."""

    distances: np.ndarray
    """float64 `(Q, k)`, Euclidean, in units of the features."""
    indices: np.ndarray
    """int64 `(Q, k)`: rows of the set that was searched, in no set order among equally far ones."""


def nearest_neighbours(
    queries: np.ndarray, references: np.ndarray | None = None, *, k: int, device: torch.device | str = "cpu"
) -> Neighbours:
    """Find the k nearest images of each query by exhaustive search.

    Args:
        queries: float `(Q, D)`.
        references: float `(N, D)`, N >= k: the set to search. None searches the queries themselves, Q > k: no image is
            its own neighbour, but a copy of it is, at distance 0.
        k: How many to find, at least 1.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}")
    metric = f"a search for {k} nearest neighbours"
    if references is None:
        check_sets(metric, at_least=k + 1, queries=queries)
        searched, centre = queries, common_mean(queries, device=device)
    else:
        check_sets(metric, at_least=k, references=references)
        check_sets(metric, at_least=0, queries=queries, references=references)
        searched, centre = references, common_mean(queries, references, device=device)

    distances = np.empty((len(queries), k), dtype=np.float64)
    indices = np.empty((len(queries), k), dtype=np.int64)
    for rows, block in row_blocks(queries, centre=centre, device=device):
        best = block.new_full((len(block), k), torch.inf)
        best_indices = torch.full_like(best, -1, dtype=torch.int64)
        for columns, other in row_blocks(searched, centre=centre, device=device):
            squared, _ = squared_distances(block, other)
            if references is None and columns == rows:
                squared.fill_diagonal_(torch.inf)
            numbers = torch.arange(columns.start, columns.stop, device=block.device).expand(len(block), -1)
            best, places = torch.cat((best, squared), dim=1).topk(k, largest=False)
            best_indices = torch.cat((best_indices, numbers), dim=1).gather(1, places)
        distances[rows] = best.sqrt().cpu()
        indices[rows] = best_indices.cpu()
    return Neighbours(distances, indices)


def share_nearer(distances: np.ndarray, others: np.ndarray) -> float:
    """Give the share of all pairs in which a distance is below one of the others; equal ones count half.

    This is the statistic of a Mann-Whitney test. Between distances to training images, of samples and of held-out
    images, it tests for data copying (Meehan, Chaudhuri & Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying
    in Generative Models").
    """
    below, not_above = (np.searchsorted(np.sort(others), distances, side=side) for side in ("left", "right"))
    return float((len(others) - (below + not_above) / 2).mean() / len(others))


def squared_distances(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Give the squared Euclidean distances between two blocks, and a bound of their rounding errors.

    `|x|^2 - 2 x . y + |y|^2` is one matrix product, but leaves rounding errors in place of small distances. What is
    below their bound becomes 0, so that copies are at distance 0. The bound is relative to the norms: centre
    `(R, D)` rows and `(S, D)` columns on one point first. Both results are float64 `(R, S)`.
    """
    norms = rows.square().sum(dim=1, keepdim=True) + columns.square().sum(dim=1)
    # Each of the D steps of a sum errs by at most half an eps; twice that bounds the comparison of two distances.
    rounding = norms * (2 * (rows.shape[1] + 4) * torch.finfo(norms.dtype).eps)
    squared = torch.addmm(norms, rows, columns.T, alpha=-2.0)
    return squared.masked_fill_(squared <= rounding, 0.0), rounding


def squared_radii(features: np.ndarray, k: int, device: torch.device | str) -> Tensor:
    """Square the distance of each image to its k-th nearest neighbour: float64 `(N,)`."""
    radii = nearest_neighbours(features, k=k, device=device).distances[:, -1]
    return torch.from_numpy(np.square(radii)).to(float64_device(device))


def squared_distance_blocks(
    samples: np.ndarray, reference: np.ndarray, device: torch.device | str
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield rows of the samples, rows of the reference, and their squared distances less what rounding may add."""
    centre = common_mean(samples, reference, device=device)
    for rows, block in row_blocks(samples, centre=centre, device=device):
        for columns, other in row_blocks(reference, centre=centre, device=device):
            squared, rounding = squared_distances(block, other)
            yield rows, columns, squared - rounding
