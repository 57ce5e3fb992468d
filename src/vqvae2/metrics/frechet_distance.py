"""The Fréchet distance: how far apart two sets of images are as Gaussians in a feature space.

Shapes: N images, D features.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from vqvae2.errors import CheckpointError
from vqvae2.metrics.features import check_counts, check_dimensions, float64_device, row_blocks
from vqvae2.system.atomic import atomic_write_bytes
from vqvae2.system.json_files import require_small_header

__all__ = [
    "GaussianStatistics",
    "frechet_distance",
    "gaussian_statistics",
    "load_statistics",
    "save_statistics",
]

_MAGIC = "vqvae2.gaussian"
_VERSION = 1


@dataclass(frozen=True)
class GaussianStatistics:
    """All that a Fréchet distance needs to know of a set of images."""

    count: int
    """Images of the set, at least 2."""
    mean: np.ndarray
    """float64 `(D,)`."""
    covariance: np.ndarray
    """float64 `(D, D)`, symmetric, unbiased: divided by N - 1."""


def gaussian_statistics(features: np.ndarray, *, device: torch.device | str = "cpu") -> GaussianStatistics:
    """Measure mean and covariance of a set of images, block by block in float64.

    Each block is centred on its own mean, and its sums are merged with those before it (Chan, Golub & LeVeque 1979,
    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances"), so that no digits are lost to a mean
    that is large beside the spread.

    Args:
        features: float `(N, D)`, N >= 2; may be mapped into memory.
        device: Where to compute.

    Raises:
        DataError: If there are fewer than two images, since one has no covariance, or a feature is not finite.
    """
    check_dimensions(features=features)
    check_counts("a Fréchet distance", at_least=2, features=features)
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
    return GaussianStatistics(count, mean.cpu().numpy().copy(), symmetric.cpu().numpy())


def frechet_distance(a: GaussianStatistics, b: GaussianStatistics, *, device: torch.device | str = "cpu") -> float:
    """Give the squared 2-Wasserstein distance of two Gaussians, `|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))`.

    It is the FID where the features are those of the FID's Inception-v3. It is biased upwards for small sets: compare
    only results of equally many images. The trace of the root is the sum of the singular values of `A^(1/2) B^(1/2)`,
    which are real, and keep their accuracy where covariances have no full rank, as those of N <= D images.

    Args:
        a: One set of images.
        b: The other, in the same features.
        device: Where to compute.

    Returns:
        The distance in squared units of the features, at least 0.

    Raises:
        DataError: If the two have features of different dimension.

    Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions"; Heusel et al. 2017,
    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", eq. 6.
    """
    check_dimensions(a=a.covariance, b=b.covariance)
    shift = float(np.square(a.mean - b.mean).sum())
    root_a, root_b = (_root(statistics.covariance, device) for statistics in (a, b))
    overlap = float(torch.linalg.svdvals(root_a.T @ root_b).sum())
    return max(0.0, shift + float(np.trace(a.covariance) + np.trace(b.covariance)) - 2.0 * overlap)


def _root(covariance: np.ndarray, device: torch.device | str) -> Tensor:
    """Give R of rank r with `R R^T` the covariance, `(D, r)`: its square root but for a rotation, which has no effect.

    Eigenvalues that are zero come out as rounding errors, whose roots would no longer be small.
    """
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance).to(float64_device(device)))
    kept = values > values[-1].clamp(min=0.0) * len(values) * torch.finfo(values.dtype).eps
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def save_statistics(statistics: GaussianStatistics, path: Path) -> None:
    """Write the statistics of a set as one safetensors file; the file appears whole or not at all."""
    arrays = {"mean": statistics.mean, "covariance": statistics.covariance}
    header = {"magic": _MAGIC, "version": _VERSION, "count": statistics.count, "fingerprint": _fingerprint(arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, save(arrays, metadata={"vqvae2": json.dumps(header)}))


def load_statistics(path: Path) -> GaussianStatistics:
    """Read what `save_statistics` wrote.

    Raises:
        CheckpointError: If the file is missing, damaged, of another version, or of something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; measure these statistics first")
    remedy = "delete it, and measure these statistics again"
    try:
        require_small_header(path)
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("vqvae2", "{}"))
            if header.get("magic") != _MAGIC or header.get("version") != _VERSION:
                raise CheckpointError(f"{path} must hold {_MAGIC} of version {_VERSION}, but does not; {remedy}")
            arrays = {name: file.get_tensor(name) for name in ("mean", "covariance")}
    except (SafetensorError, OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); {remedy}") from error
    if _fingerprint(arrays) != header.get("fingerprint"):
        raise CheckpointError(f"{path} is damaged: its numbers do not match their checksum; {remedy}")
    count, mean, covariance = header.get("count"), arrays["mean"], arrays["covariance"]
    are_sized = mean.ndim == 1 and covariance.shape == mean.shape * 2 and mean.dtype == covariance.dtype == np.float64
    if type(count) is not int or count < 2 or not are_sized:
        raise CheckpointError(f"{path} must hold a mean and a covariance of at least 2 images, but does not; {remedy}")
    return GaussianStatistics(count, mean, covariance)


def _fingerprint(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
