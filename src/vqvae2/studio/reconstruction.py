"""What a pipeline keeps of one image: pictures and numbers, level by level.

Shapes: C channels, H x W pixels, h x w code grid of one level.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vqvae2.codec.description import describe_compressed
from vqvae2.codec.fixed_width import code_bits
from vqvae2.images import crop_to
from vqvae2.metrics.distortion import ReconstructionError
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.hooks import Hooks

__all__ = ["MOST_CODED_PIXELS", "FileSize", "LevelStep", "Reconstruction", "file_size", "reconstruct"]

MOST_CODED_PIXELS = 256 * 256
"""Of an image whose file is made at once, in seconds on a CPU; the priors visit its codes one by one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelStep:
    """One level, and the image as it is decoded from this level and those above it."""

    name: str
    """Of the level, as in "top"."""
    codes: Tensor
    """int64 `(h, w)`, on the CPU."""
    num_embeddings: int
    """K of its codebook."""
    reduction: int
    """Pixels along a side of what one code stands for."""
    image: Tensor
    """`(C, H, W)`, about [-1, 1], on the CPU."""
    psnr_db: float
    """Of that image; infinite if it is the original."""

    @property
    def raw_bits(self) -> int:
        """Of this level's codes, each with as many bits as the codebook needs."""
        return self.codes.numel() * code_bits(self.num_embeddings)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """An image, and what becomes of it."""

    original: Tensor
    """`(C, H, W)` in [-1, 1], on the CPU."""
    steps: tuple[LevelStep, ...]
    """Top first."""

    @property
    def num_pixels(self) -> int:
        return math.prod(self.original.shape[1:])


@dataclass(frozen=True)
class FileSize:
    """Bytes of an image's file, in which the priors code the codes."""

    num_bytes: int
    """Of the whole file, its head and checksums too."""
    level_bytes: tuple[int, ...]
    """Of each level's codes, top first."""


def reconstruct(pipeline: Pipeline, image: Tensor) -> Reconstruction:
    """Encode an image `(C, H, W)` in [-1, 1] of any size, and decode it from ever more levels."""
    config = pipeline.tokenizer.config
    codes = pipeline.encode(image[None])
    steps = []
    for level, name in enumerate(config.level_names):
        decoded = crop_to(pipeline.decode(codes, levels=level + 1), *image.shape[-2:]).cpu()
        error = ReconstructionError()
        error.update(decoded, image[None])
        steps.append(
            LevelStep(
                name=name,
                codes=codes[level][0].cpu(),
                num_embeddings=config.codebook_sizes[level],
                reduction=config.reductions[level],
                image=decoded[0],
                psnr_db=error.psnr_db,
            )
        )
    return Reconstruction(original=image, steps=tuple(steps))


@torch.inference_mode()
def file_size(pipeline: Pipeline, image: Tensor, *, hooks: Hooks = Hooks()) -> FileSize | None:
    """Compress an image `(C, H, W)` in [-1, 1] with the priors, and say how large its file is.

    Args:
        pipeline: With priors or without.
        image: The image.
        hooks: Receive progress.

    Returns:
        The size; None without priors, and for images of more than `MOST_CODED_PIXELS`.
    """
    if not pipeline.priors or math.prod(image.shape[1:]) > MOST_CODED_PIXELS:
        return None
    data = pipeline.compress(image, mode="prior", verify=False, hooks=hooks)
    facts = describe_compressed(io.BytesIO(data))
    return FileSize(facts["bytes"], tuple(level["bytes"] for level in facts["levels"]))
