"""Train a tokenizer on images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vqvae2.config import TokenizerTrainingConfig, VQVAE2Config
from vqvae2.data import Images, ReadBatch, ReadingUnits, evenly_spread, spread_batches
from vqvae2.errors import ConfigError
from vqvae2.images import from_pixels
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.metrics.reconstruction import ReconstructionError
from vqvae2.models.vqvae import VQVAE2
from vqvae2.system.processes import sum_over_processes
from vqvae2.training.augmentation import mirror
from vqvae2.training.task import Runtime, StepOutput

__all__ = ["TokenizerTask", "measure_tokenizer"]

# Enough images for a steady validation error while training; the final measurements use all of them.
_VALIDATION_IMAGES = 1024
# Without a `preview_weight`, gradients end in the predictors, see `VQVAE2`. Adam does not mind their scale, and at
# this one they leave the clipping of all other gradients as it is.
_PREDICTOR_WEIGHT = 0.01


class ImageBatch(NamedTuple):
    """Images as they are stored, uint8 or uint16 `(B, H, W, C)`, and which to mirror, bool `(B,)`."""

    pixels: Tensor
    is_mirrored: Tensor


class TokenizerTask:
    """The loss of the paper's stage 1: squared error, plus the quantizers' terms, plus previews.

    (Razavi et al. 2019, eq. 2; with EMA codebooks its middle term is replaced by their moving averages.) The preview
    term is ours, see `VQVAE2`.

    Args:
        config: The model.
        images: The data.
        training: For its seed and flips; the weights are drawn from the seed, and the codebooks start from
            encoder outputs.
    """

    can_be_sharded = False  # codebooks keep themselves equal, and the networks are small

    def __init__(self, config: VQVAE2Config, images: Images, training: TokenizerTrainingConfig) -> None:
        if images.channels != config.in_channels:
            raise ConfigError(
                f"`in_channels` must be that of the images ({images.channels}), got {config.in_channels}; "
                "set it, or read the images with other `channels`"
            )
        self._images = images
        self.metadata: dict[str, Any] = {
            "image_size": list(images.size),
            "classes": list(images.classes),
            "num_training_images": len(images.indices("train")),
        }
        self._flips = training.horizontal_flips
        self._usages: list[CodebookUsage] = []
        torch.manual_seed(training.seed)
        self.model = VQVAE2(config)
        order = np.random.default_rng(training.seed).permutation(images.indices("train"))
        first = order[: _num_initial_images(config, images.size)]
        self.model.initialize_codebooks(from_pixels(torch.from_numpy(images.read(first))))

    @property
    def training_indices(self) -> np.ndarray:
        return self._images.indices("train")

    @property
    def units(self) -> ReadingUnits | None:
        return self._images.units

    def load(self, indices: list[int], chances: Tensor) -> ImageBatch:
        """Read images, and decide which are mirrored."""
        return ImageBatch(torch.from_numpy(self._images.read(indices)), chances[:, 0] < 0.5 * self._flips)

    def names(self, indices: list[int]) -> list[str]:
        return [self._images.names[index] for index in indices]

    def step(self, model: nn.Module, batch: ImageBatch, device: torch.device) -> StepOutput:
        images = from_pixels(batch.pixels.to(device, non_blocking=True))
        if self._flips:
            images = mirror(images, batch.is_mirrored.to(device, non_blocking=True))
        output = model(images)
        loss = (
            output.reconstruction_loss
            + output.quantizer_loss
            + (self.model.config.preview_weight or _PREDICTOR_WEIGHT) * output.preview_loss
        )
        if not self._usages:
            self._usages = _new_usages(self.model.config, device)
        for usage, codes in zip(self._usages, output.codes, strict=True):
            usage.update(codes)
        return StepOutput(loss, {"reconstruction_mse": output.reconstruction_loss, "quantizer": output.quantizer_loss})

    def after_step(self, model: nn.Module) -> None:
        assert isinstance(model, VQVAE2)
        model.update_codebooks()

    def close_epoch(self) -> dict[str, float]:
        row: dict[str, float] = {}
        for level, usage in enumerate(self._usages):
            sum_over_processes(usage.counts)
            row |= {f"{name}_{level}": value for name, value in usage.to_dict().items()}
        self._usages = []
        return row

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        assert isinstance(model, VQVAE2)
        indices = evenly_spread(self._images.indices("validation"), most=_VALIDATION_IMAGES)
        measured, usages = measure_tokenizer(model, self._images, indices, runtime=runtime)
        row = {"score": measured.mse, "mse": measured.mse, "psnr_db": measured.psnr_db}
        for level, usage in enumerate(usages):
            row |= {f"{name}_{level}": value for name, value in usage.to_dict().items()}
        return row

    def measure_training(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Nothing: a tokenizer has no dropout, so its loss shows the same."""
        return {}


@torch.inference_mode()
def measure_tokenizer(
    model: VQVAE2, images: Images, indices: np.ndarray, *, runtime: Runtime, batch_size: int = 64
) -> tuple[ReconstructionError, list[CodebookUsage]]:
    """Reconstruct some images; give the error, and the codebook usage of each level, top first."""

    def measure(batch: ReadBatch) -> tuple[ReconstructionError, list[CodebookUsage]]:
        error, usages = ReconstructionError(), _new_usages(model.config)
        original = from_pixels(torch.from_numpy(batch.pixels).to(runtime.device))
        with runtime.autocast():
            output = model(original)
        error.update(output.reconstruction, original)
        for usage, codes in zip(usages, output.codes, strict=True):
            usage.update(codes.cpu())
        return error, usages

    error, usages = ReconstructionError(), _new_usages(model.config)
    for more_error, more_usages in spread_batches(images, indices, batch_size, measure):
        error.merge(more_error)
        for usage, more in zip(usages, more_usages, strict=True):
            usage.merge(more)
    return error, usages


def _new_usages(config: VQVAE2Config, device: torch.device | str = "cpu") -> list[CodebookUsage]:
    """Start to count the codes of each level, top first."""
    return [CodebookUsage(size, device=device) for size in config.codebook_sizes]


def _num_initial_images(config: VQVAE2Config, size: tuple[int, int]) -> int:
    """Enough images for 16 vectors a code at the top, but at least 16, for variety, and at most 256."""
    height, width = config.code_shapes(*size)[0]
    return min(max(16, 16 * config.quantizer.num_embeddings // (height * width)), 256)
