"""The kernel distance: how far apart two sets of images are by the moments of their features up to the third.

Shapes: N images, D features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vqvae2.metrics.features import check_sets, float64_device, row_blocks

__all__ = ["kernel_distance"]


def kernel_distance(samples: np.ndarray, reference: np.ndarray, *, device: torch.device | str = "cpu") -> float:
    """Estimate the squared maximum mean discrepancy with the kernel `(x . y / D + 1)^3`, over all pairs of images.

    In features of the FID's Inception-v3 this is the KID. Its expectation does not depend on the number of images,
    unlike that of the Fréchet distance. Publications often average it over random subsets, which estimates the same
    number with more noise. The estimate has no unit, and is unbiased: it may be a little below 0 for sets that are
    alike. Each set needs two images.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 4; Gretton et al. 2012, "A Kernel Two-Sample Test", eq. 3.
    """
    check_sets("the kernel distance", at_least=2, samples=samples, reference=reference)
    within = sum(_sum_within(set_, device) / (len(set_) * (len(set_) - 1)) for set_ in (samples, reference))
    return within - 2.0 * _sum_across(samples, reference, device) / (len(samples) * len(reference))


def _kernel(rows: Tensor, columns: Tensor) -> Tensor:
    return (rows @ columns.T).div_(rows.shape[1]).add_(1.0).pow_(3)


def _sum_within(features: np.ndarray, device: torch.device | str) -> float:
    """Sum over all ordered pairs of two different images."""
    total = torch.zeros((), dtype=torch.float64, device=float64_device(device))
    for rows, block in row_blocks(features, device=device):
        for columns, later in row_blocks(features[rows.start :], device=device):
            if columns.start == 0:
                total += _kernel(block, block).fill_diagonal_(0.0).sum()
            else:
                total += 2.0 * _kernel(block, later).sum()
    return total.item()


def _sum_across(samples: np.ndarray, reference: np.ndarray, device: torch.device | str) -> float:
    total = torch.zeros((), dtype=torch.float64, device=float64_device(device))
    for _, block in row_blocks(samples, device=device):
        for _, other in row_blocks(reference, device=device):
            total += _kernel(block, other).sum()
    return total.item()
