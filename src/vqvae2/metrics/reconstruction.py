"""Distance of reconstructions from originals."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["ReconstructionError"]


class ReconstructionError:
    """Mean squared error and PSNR over a set of images, summed in float64.

    The error is in the range [-1, 1] (peak to peak 2), over all pixels and channels of all images; PSNR is that
    of this mean error. Reconstructions are clamped to [-1, 1] first, as when they are saved.
    """

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        # MPS has no float64; its sums are moved batch by batch instead.
        self._sum = torch.zeros((), dtype=torch.float64, device="cpu" if str(device).startswith("mps") else device)
        self._count = 0

    def update(self, reconstruction: Tensor, original: Tensor) -> None:
        """Add images of equal shape, float, in [-1, 1]."""
        squared = (reconstruction.float().clamp(-1.0, 1.0) - original).square()
        self._sum += squared.sum(dim=tuple(range(1, squared.ndim))).to(self._sum.device, torch.float64).sum()
        self._count += squared.numel()

    @property
    def mse(self) -> float:
        return self._sum.item() / max(self._count, 1)

    @property
    def psnr_db(self) -> float:
        """Peak signal to noise ratio in decibels; infinite for equal images."""
        return 10.0 * math.log10(4.0 / self.mse) if self.mse > 0.0 else math.inf
