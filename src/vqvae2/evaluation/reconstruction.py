"""How well a tokenizer reconstructs images: errors by level, and the use of its codebooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from vqvae2.config import VQVAE2Config
from vqvae2.data import Images, ReadBatch, spread_batches
from vqvae2.images import crop_to, from_pixels
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.metrics.distortion import SSIM_WINDOW_PIXELS, ReconstructionError, StructuralSimilarity
from vqvae2.metrics.measurements import LevelReconstruction, PixelErrors
from vqvae2.models.vqvae import VQVAE2

__all__ = ["MeasuredReconstruction", "measure_reconstruction"]


class MeasuredReconstruction(NamedTuple):
    """How near reconstructions of some images come to their originals."""

    errors: PixelErrors
    """From all levels."""
    levels: tuple[LevelReconstruction, ...]
    """Top first."""


@torch.inference_mode()
def measure_reconstruction(
    tokenizer: VQVAE2,
    images: Images,
    indices: np.ndarray,
    *,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> MeasuredReconstruction:
    """Encode some images and decode them from ever more levels, in float32.

    Args:
        tokenizer: In evaluation mode; its device is used.
        images: The data.
        indices: Numbers of the images, int64 `(N,)`.
        batch_size: Images at a time.
        on_progress: Called with the images done and their total.
    """
    device, has_ssim = next(tokenizer.parameters()).device, min(images.size) >= SSIM_WINDOW_PIXELS

    def measure(batch: ReadBatch) -> _Sums:
        sums = _Sums(tokenizer.config)
        originals = from_pixels(torch.from_numpy(batch.pixels).to(device))
        codes = tokenizer.encode(originals)
        for level, error in enumerate(sums.errors):
            decoded = crop_to(tokenizer.decode(codes, levels=level + 1), *images.size)
            error.update(decoded, originals)
        if has_ssim:
            sums.similarity.update(decoded, originals)
        for usage, level_codes in zip(sums.usages, codes, strict=True):
            usage.update(level_codes.cpu())
        sums.num_images = len(batch.indices)
        return sums

    total = _Sums(tokenizer.config)
    for part in spread_batches(images, indices, batch_size, measure):
        total.merge(part)
        if on_progress is not None:
            on_progress(total.num_images, len(indices))
    whole = total.errors[-1]
    ssim = total.similarity.ssim if has_ssim else None
    return MeasuredReconstruction(
        PixelErrors(mse=whole.mse, psnr_db=whole.psnr_db, ssim=ssim, num_images=total.num_images),
        tuple(
            LevelReconstruction(
                name=name,
                num_embeddings=len(usage.counts),
                mse_down_to_here=error.mse,
                usage=usage.usage,
                perplexity=usage.perplexity,
                dead_codes=usage.dead_codes,
            )
            for name, error, usage in zip(tokenizer.config.level_names, total.errors, total.usages, strict=True)
        ),
    )


class _Sums:
    """What is summed over images."""

    def __init__(self, config: VQVAE2Config) -> None:
        self.errors = tuple(ReconstructionError() for _ in range(config.num_levels))
        self.usages = tuple(CodebookUsage(size) for size in config.codebook_sizes)
        self.similarity = StructuralSimilarity()
        self.num_images = 0

    def merge(self, other: _Sums) -> None:
        for error, more in zip(self.errors, other.errors, strict=True):
            error.merge(more)
        for usage, counted in zip(self.usages, other.usages, strict=True):
            usage.merge(counted)
        self.similarity.merge(other.similarity)
        self.num_images += other.num_images
