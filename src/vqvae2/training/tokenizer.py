"""Train a tokenizer on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vqvae2.config import TokenizerTrainingConfig, VQVAE2Config
from vqvae2.data import Images, ReadBatch, evenly_spread, spread_batches
from vqvae2.errors import ConfigError
from vqvae2.images import crop_to, from_pixels
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.metrics.distortion import ReconstructionError
from vqvae2.models.vqvae import VQVAE2
from vqvae2.system.processes import sum_over_processes
from vqvae2.training.image_batches import VALIDATION_IMAGES, ImageBatch, shown_images
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = ["TokenizerTask", "measure_tokenizer"]

# Without a `preview_weight`, gradients of the previews end in the predictors, see `VQVAE2`. Adam ignores their scale,
# and this one is too small to change the clipping of all other gradients.
_PREDICTOR_WEIGHT = 0.01


class TokenizerTask(Task):
    """The loss of the paper's stage 1: squared error, plus the quantizers' terms, plus previews.

    With EMA codebooks, moving averages replace the middle term of the paper's loss (Razavi et al. 2019, eq. 2). The
    preview term is ours, see `VQVAE2`. The model cannot be sharded: processes keep their codebooks equal themselves,
    and the networks are small. The seed of the training draws the weights, and the codebooks start from encoder
    outputs, unless there are weights to start from.

    Raises:
        ConfigError: If the images have other channels than the config.
    """

    model: VQVAE2

    def __init__(
        self,
        config: VQVAE2Config,
        images: Images,
        training: TokenizerTrainingConfig,
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        if images.channels != config.in_channels:
            raise ConfigError(
                f"`in_channels` must be that of the images ({images.channels}), got {config.in_channels}; "
                "set it, or read the images with other `channels`"
            )
        self._images = images
        self.training_indices, self.names, self.units = images.indices("train"), images.names, images.units
        self.metadata = {
            "image_size": list(images.size),
            "classes": list(images.classes),
            "num_training_images": len(self.training_indices),
        }
        self._flips = training.horizontal_flips
        self._usages = _new_usages(config)
        torch.manual_seed(training.seed)
        self.model = VQVAE2(config)
        if start is not None:
            self.model.load_state_dict(start)
            return
        order = np.random.default_rng(training.seed).permutation(self.training_indices)
        # 16 vectors per code at the top, from at least 16 images, for variety, and at most 256.
        height, width = config.code_shapes(*images.size)[0]
        first = order[: min(max(16, 16 * config.quantizer.num_embeddings // (height * width)), 256)]
        self.model.initialize_codebooks(from_pixels(torch.from_numpy(images.read(first))))

    def load(self, indices: list[int], chances: Tensor) -> ImageBatch:
        return ImageBatch(torch.from_numpy(self._images.read(indices)), chances)

    def step(self, model: nn.Module, batch: ImageBatch) -> StepOutput:
        """Compute the loss of a batch, and count its codes for `close_epoch`."""
        output = model(batch.images(with_flips=self._flips))
        loss = (
            output.reconstruction_loss
            + output.quantizer_loss
            + (self.model.config.preview_weight or _PREDICTOR_WEIGHT) * output.preview_loss
        )
        for usage, codes in zip(self._usages, output.codes, strict=True):
            usage.update(codes)
        return StepOutput(loss, {"reconstruction_mse": output.reconstruction_loss, "quantizer": output.quantizer_loss})

    def after_step(self, model: nn.Module) -> None:
        assert isinstance(model, VQVAE2)
        model.update_codebooks()

    def close_epoch(self) -> dict[str, float]:
        for usage in self._usages:
            sum_over_processes(usage.counts)
        row = _usage_row(self._usages)
        for usage in self._usages:
            usage.counts.zero_()  # where they lie, since a graph of the step writes there
        return row

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        assert isinstance(model, VQVAE2)
        indices = evenly_spread(self._images.indices("validation"), most=VALIDATION_IMAGES)
        measured, usages = measure_tokenizer(model, self._images, indices, runtime=runtime)
        return {"score": measured.mse, "mse": measured.mse, "psnr_db": measured.psnr_db} | _usage_row(usages)

    def pictures(self, model: nn.Module, runtime: Runtime) -> Mapping[str, Sequence[Tensor]]:
        """Show held-out images over their reconstructions, and what the upper levels alone give."""
        assert isinstance(model, VQVAE2)
        originals = shown_images(self._images, runtime.device)
        codes = model.encode(originals)
        *previews, whole = (
            crop_to(model.decode(codes, levels=levels), *self._images.size) for levels in range(1, len(codes) + 1)
        )
        return {"reconstructions": [originals, whole]} | ({"previews": previews} if previews else {})


@torch.inference_mode()
def measure_tokenizer(
    model: VQVAE2, images: Images, indices: np.ndarray, *, runtime: Runtime, batch_size: int = 64
) -> tuple[ReconstructionError, list[CodebookUsage]]:
    """Reconstruct some images; return the error, and the codebook usage of each level, top first."""

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


def _new_usages(config: VQVAE2Config) -> list[CodebookUsage]:
    """Make counters of the codes of each level, top first."""
    return [CodebookUsage(size) for size in config.codebook_sizes]


def _usage_row(usages: list[CodebookUsage]) -> dict[str, float]:
    return {f"{name}_{level}": value for level, usage in enumerate(usages) for name, value in usage.to_dict().items()}
