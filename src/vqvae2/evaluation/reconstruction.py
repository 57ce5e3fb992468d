"""How well a tokenizer reconstructs images: errors by level, and the use of its codebooks."""

from __future__ import annotations

import numpy as np
import torch

from vqvae2.config import VQVAE2Config
from vqvae2.data import ReadBatch, spread_batches
from vqvae2.evaluation.bench import Bench
from vqvae2.images import crop_to, from_pixels
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.metrics.distortion import SSIM_WINDOW_PIXELS, ReconstructionError, StructuralSimilarity
from vqvae2.metrics.measurements import LevelReconstruction, PixelErrors, ReconstructionResult

__all__ = ["measure_errors"]


def measure_errors(bench: Bench, validation: np.ndarray, train: np.ndarray | None = None) -> ReconstructionResult:
    """Measure errors of reconstructions by level, and the use of the codebooks on validation images.

    Both sets are numbers of images, int64 `(N,)`; training images are measured beside the others if they are given.
    """
    of_train = None if train is None else _sum_errors(bench, train, "training").errors()
    held_out = _sum_errors(bench, validation, "validation")
    return ReconstructionResult(
        validation=held_out.errors(),
        train=of_train,
        levels=held_out.levels(),
        protocol=bench.own_protocol("the images themselves, in [-1, 1]", validation),
    )


@torch.inference_mode()
def _sum_errors(bench: Bench, indices: np.ndarray, name: str) -> _Sums:
    """Encode some images and decode them from ever more levels, in float32."""
    images, pipeline = bench.subject.images, bench.subject.pipeline
    bench.listener.stage("reconstruction", f"{len(indices)} {name} images")
    report = bench.counter("images")

    def measure(batch: ReadBatch) -> _Sums:
        sums = _Sums(pipeline.tokenizer.config, images.size)
        originals = from_pixels(torch.from_numpy(batch.pixels).to(pipeline.device))
        codes = pipeline.encode(originals)
        for level, error in enumerate(sums.by_level):
            decoded = crop_to(pipeline.decode(codes, levels=level + 1), *images.size)
            error.update(decoded, originals)
        if sums.has_ssim:
            sums.similarity.update(decoded, originals)
        for usage, level_codes in zip(sums.usages, codes, strict=True):
            usage.update(level_codes.cpu())
        sums.num_images = len(batch.indices)
        return sums

    total = _Sums(pipeline.tokenizer.config, images.size)
    for part in spread_batches(images, indices, bench.config.batch_size, measure):
        total.merge(part)
        report(total.num_images, len(indices))
    return total


class _Sums:
    """What is summed over images."""

    def __init__(self, config: VQVAE2Config, size: tuple[int, int]) -> None:
        self._names, self.has_ssim = config.level_names, min(size) >= SSIM_WINDOW_PIXELS
        self.by_level = tuple(ReconstructionError() for _ in range(config.num_levels))
        self.usages = tuple(CodebookUsage(size) for size in config.codebook_sizes)
        self.similarity = StructuralSimilarity()
        self.num_images = 0

    def merge(self, other: _Sums) -> None:
        for error, more in zip(self.by_level, other.by_level, strict=True):
            error.merge(more)
        for usage, counted in zip(self.usages, other.usages, strict=True):
            usage.merge(counted)
        self.similarity.merge(other.similarity)
        self.num_images += other.num_images

    def errors(self) -> PixelErrors:
        whole, ssim = self.by_level[-1], self.similarity.ssim if self.has_ssim else None
        return PixelErrors(mse=whole.mse, psnr_db=whole.psnr_db, ssim=ssim, num_images=self.num_images)

    def levels(self) -> tuple[LevelReconstruction, ...]:
        return tuple(
            LevelReconstruction(
                name=name,
                num_embeddings=len(usage.counts),
                mse_down_to_here=error.mse,
                usage=usage.usage,
                perplexity=usage.perplexity,
                dead_codes=usage.dead_codes,
            )
            for name, error, usage in zip(self._names, self.by_level, self.usages, strict=True)
        )
