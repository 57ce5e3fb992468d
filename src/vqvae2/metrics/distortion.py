"""Distortion: how far reconstructions are from originals, by MSE, PSNR and SSIM."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from vqvae2.errors import DataError
from vqvae2.metrics.features import float64_device

__all__ = ["SSIM_WINDOW_PIXELS", "ReconstructionError", "StructuralSimilarity"]

SSIM_WINDOW_PIXELS = 11
"""Side of the window; smaller images have no SSIM."""
_WINDOW_SIGMA_PIXELS = 1.5


class _Mean:
    """A mean over images, summed in float64."""

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        self._sum = torch.zeros((), dtype=torch.float64, device=float64_device(device))
        self._count = 0

    def _add(self, values: Tensor, count: int) -> None:
        self._sum += values.to(self._sum.device, torch.float64).sum()
        self._count += count

    def merge(self, other: Self) -> None:
        """Add the images of another object, on the same device."""
        self._sum += other._sum
        self._count += other._count

    def _mean(self) -> float:
        return self._sum.item() / max(self._count, 1)


class ReconstructionError(_Mean):
    """Mean squared error and PSNR over a set of images.

    The error is in the range [-1, 1] (peak to peak 2), over all pixels and channels of all images; PSNR is that
    of this mean error. Reconstructions are clamped to [-1, 1] first, as when they are saved.
    """

    def update(self, reconstruction: Tensor, original: Tensor) -> None:
        """Add images of equal shape, float, in [-1, 1]."""
        squared = (reconstruction.float().clamp(-1.0, 1.0) - original).square()
        self._add(squared.sum(dim=tuple(range(1, squared.ndim))), squared.numel())

    @property
    def mse(self) -> float:
        return self._mean()

    @property
    def psnr_db(self) -> float:
        """Peak signal to noise ratio in decibels; infinite for equal images."""
        return 10.0 * math.log10(4.0 / self.mse) if self.mse > 0.0 else math.inf


class StructuralSimilarity(_Mean):
    """Mean SSIM over a set of images.

    The window is Gaussian, 11x11 pixels, sigma 1.5 pixels, around every pixel of an image mirrored at its edges;
    channels are averaged. Reconstructions are clamped to [-1, 1] first, as when they are saved, and both are laid into
    0..1, black to white: SSIM compares luminances from black on.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", eq. 13.
    """

    def update(self, reconstruction: Tensor, original: Tensor) -> None:
        """Add images of equal shape, float `(B, C, H, W)`, in [-1, 1].

        Raises:
            DataError: If a side is shorter than the window.
        """
        # Imported here, since it takes longer than all of torch.
        from torchmetrics.functional.image import structural_similarity_index_measure

        height, width = original.shape[-2:]
        if min(height, width) < SSIM_WINDOW_PIXELS:
            raise DataError(
                f"SSIM needs images of at least {SSIM_WINDOW_PIXELS}x{SSIM_WINDOW_PIXELS} pixels, the size of its "
                f"window, got {height}x{width}; give larger images"
            )
        similarities = structural_similarity_index_measure(
            (reconstruction.float().clamp(-1.0, 1.0) + 1.0) / 2.0,
            (original.float() + 1.0) / 2.0,
            kernel_size=SSIM_WINDOW_PIXELS,
            sigma=_WINDOW_SIGMA_PIXELS,
            data_range=1.0,
            reduction="none",
        )
        assert isinstance(similarities, Tensor)  # not a pair, which only other options give
        self._add(similarities, len(original))

    @property
    def ssim(self) -> float:
        """-1..1; 1 for equal images."""
        return self._mean()
