"""The Fréchet distance: how far apart two sets of images are as Gaussians in a feature space.

Shapes: N images, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vqvae2.metrics.features import check_sets, float64_device, row_blocks

__all__ = ["GaussianStatistics", "frechet_distance", "gaussian_statistics"]


@dataclass(frozen=True)
class GaussianStatistics:
    """What a Fréchet distance needs of a set of images."""

    mean: np.ndarray
    """float64 `(D,)`."""
    covariance: np.ndarray
    """float64 `(D, D)`, symmetric, unbiased: divided by N - 1."""


def gaussian_statistics(features: np.ndarray, *, device: torch.device | str = "cpu") -> GaussianStatistics:
    """Measure mean and covariance of a set of images, block by block in float64.

    Each block is centred on its own mean, and its sums are merged with those before it (Chan, Golub & LeVeque 1979,
    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances"), so that no digits are lost to a mean
    that is large beside the spread. A set needs two images, since one has no covariance.
    """
    check_sets("a Fréchet distance", at_least=2, features=features)
    count = 0
    mean = torch.zeros(features.shape[1], dtype=torch.float64, device=float64_device(device))
    scatter = mean.new_zeros(len(mean), len(mean))
    for _, block in row_blocks(features, device=device):
        block_mean = block.mean(dim=0)
        centred, shift = block - block_mean, block_mean - mean
        total = count + len(block)
        scatter.addmm_(centred.T, centred)
        scatter.addr_(shift, shift, alpha=count * len(block) / total)
        mean += shift * (len(block) / total)
        count = total
    covariance = scatter / (count - 1)
    symmetric = (covariance + covariance.T) / 2  # rounding leaves it a little asymmetric
    return GaussianStatistics(mean.cpu().numpy().copy(), symmetric.cpu().numpy())


def frechet_distance(a: GaussianStatistics, b: GaussianStatistics, *, device: torch.device | str = "cpu") -> float:
    """Give the squared 2-Wasserstein distance of two Gaussians, `|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))`.

    In features of the FID's Inception-v3 this is the FID. It is biased upwards for small sets: compare only results of
    equally many images. The trace of the root is the sum of the singular values of `A^(1/2) B^(1/2)`, which are real,
    and stay accurate where covariances have less than full rank, as for N <= D images. The unit is the squared one of
    the features.

    Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions"; Heusel et al. 2017,
    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", eq. 6.
    """
    check_sets("a Fréchet distance", at_least=1, a=a.covariance, b=b.covariance)
    shift = float(np.square(a.mean - b.mean).sum())
    root_a, root_b = (_root(statistics.covariance, device) for statistics in (a, b))
    overlap = float(torch.linalg.svdvals(root_a.T @ root_b).sum())
    return max(0.0, shift + float(np.trace(a.covariance) + np.trace(b.covariance)) - 2.0 * overlap)


def _root(covariance: np.ndarray, device: torch.device | str) -> Tensor:
    """Give R `(D, r)` of rank r with `R R^T` the covariance: its square root up to a rotation, which has no effect.

    Eigenvalues of zero come out as rounding errors, whose roots would not be small, so they are dropped.
    """
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance).to(float64_device(device)))
    kept = values > values[-1].clamp(min=0.0) * len(values) * torch.finfo(values.dtype).eps
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root
