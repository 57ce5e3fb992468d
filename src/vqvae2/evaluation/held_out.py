"""What a tokenizer keeps of images: error and likeness by level, and the use of its codebooks.

Shapes: N images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vqvae2.data import Images, read_batches
from vqvae2.images import crop_to, from_pixels
from vqvae2.metrics.codebook import CodebookUsage
from vqvae2.metrics.reconstruction import SSIM_WINDOW_PIXELS, ReconstructionError, StructuralSimilarity
from vqvae2.models.vqvae import VQVAE2

__all__ = ["Reconstruction", "measure_reconstruction"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """How near reconstructions come to their originals. Images are in [-1, 1]."""

    num_images: int
    errors: tuple[ReconstructionError, ...]
    """When decoding from the top alone, from the two upper levels, ..., from all."""
    ssim: float | None
    """Structural similarity from all levels, at most 1; None for images too small for it."""
    usages: tuple[CodebookUsage, ...]
    """Of each level's codebook, top first."""

    def to_dict(self) -> dict[str, Any]:
        """Give what is measured from all levels."""
        error = self.errors[-1]
        return {"mse": error.mse, "psnr_db": error.psnr_db, "ssim": self.ssim, "num_images": self.num_images}


@torch.inference_mode()
def measure_reconstruction(
    tokenizer: VQVAE2,
    images: Images,
    indices: np.ndarray,
    *,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> Reconstruction:
    """Encode some images and decode them from ever more levels, in float32.

    Args:
        tokenizer: In evaluation mode; its device is used.
        images: The data.
        indices: Numbers of the images, int64 `(N,)`.
        batch_size: Images at a time.
        on_progress: Called with the images done and their total.
    """
    device, config = next(tokenizer.parameters()).device, tokenizer.config
    errors = tuple(ReconstructionError(device=device) for _ in range(config.num_levels))
    usages = tuple(CodebookUsage(size, device=device) for size in config.codebook_sizes)
    similarity = StructuralSimilarity(device=device) if min(images.size) >= SSIM_WINDOW_PIXELS else None
    done = 0
    for batch in read_batches(images, indices, batch_size):
        originals = from_pixels(torch.from_numpy(batch.pixels).to(device))
        codes = tokenizer.encode(originals)
        for level, error in enumerate(errors):
            decoded = crop_to(tokenizer.decode(codes, levels=level + 1), *images.size)
            error.update(decoded, originals)
        if similarity is not None:
            similarity.update(decoded, originals)
        for usage, level_codes in zip(usages, codes, strict=True):
            usage.update(level_codes)
        done += len(batch.indices)
        if on_progress is not None:
            on_progress(done, len(indices))
    return Reconstruction(
        num_images=len(indices),
        errors=errors,
        ssim=None if similarity is None else similarity.ssim,
        usages=usages,
    )
