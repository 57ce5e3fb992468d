"""Train a classifier on images with classes, and measure how often it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import ClassifierConfig, ClassifierTrainingConfig
from vqvae2.data import Images, ReadBatch, evenly_spread, spread_batches
from vqvae2.errors import ConfigError, DataError
from vqvae2.images import from_pixels, shift
from vqvae2.models.checkpoint import build_model
from vqvae2.models.classifier import ClassifierOutput
from vqvae2.models.efficientnet_lite import Lite0Classifier
from vqvae2.system.processes import num_processes, sum_over_processes
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = ["Accuracy", "ClassifierTask", "LabelledPixels", "measure_accuracy"]

# For the curve only; the final measurement uses all images. More than in the other recipes, since an accuracy is
# coarse: its standard error is 0.5 per cent at 95 per cent of 2048 images.
_VALIDATION_IMAGES = 2048
_REMEDY = "sub-folders of a folder of images are classes"


class LabelledPixels(NamedTuple):
    """Images as they are stored, uint8 or uint16 `(B, H, W, C)`, and their classes, int64 `(B,)`."""

    pixels: Tensor
    labels: Tensor
    chances: Tensor
    """float32 `(B, 3)`, uniform in [0, 1): decide how each image is mirrored and moved."""


@dataclass(frozen=True)
class Accuracy:
    """How often a classifier finds the class of an image."""

    top1: float
    """Share of the images whose class has the highest logit."""
    top5: float | None
    """Share of the images whose class is among the five highest logits; None if there are five classes or fewer."""
    loss: float
    """Mean negative log-likelihood of the class, in nats, without label smoothing."""
    num_images: int
    """Images that have a class."""


class ClassifierTask(Task):
    """Cross-entropy of the classes, with smoothed labels, on images that are moved and mirrored at random.

    Images without a class are ignored. The model cannot be sharded: each process has its own batch norm statistics.
    The seed of the training draws the weights that are not pretrained.

    Args:
        config: The classifier.
        images: The data.
        training: For its label smoothing, flips, shifts and seed.
        training_indices: Numbers of the images to train on; None for the whole train side.
        validation: Images whose validation side to validate on; None for `images`.

    Raises:
        ConfigError: If the images have other channels or classes than the config, or a package is missing.
        DataError: If no image of a side has a class.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        images: Images,
        training: ClassifierTrainingConfig,
        *,
        training_indices: np.ndarray | None = None,
        validation: Images | None = None,
    ) -> None:
        self._images = images
        self._validation_images = images if validation is None else validation
        _require_same_data(config, images, "images")
        _require_same_data(config, self._validation_images, "validation")
        chosen = images.indices("train") if training_indices is None else training_indices
        self.training_indices, self.names, self.units = _labelled(images, chosen, "train "), images.names, images.units
        held_out = self._validation_images.indices("validation")
        self._validation_indices = _labelled(self._validation_images, held_out, "validation ")
        self.metadata = {"image_size": list(images.size), "num_training_images": len(self.training_indices)}
        self._training = training
        torch.manual_seed(training.seed)
        self.model = build_model(config)
        if isinstance(self.model, Lite0Classifier):
            self.model.trunk.load_imagenet_weights()

    def load(self, indices: list[int], chances: Tensor) -> LabelledPixels:
        labels = torch.from_numpy(self._images.labels[indices])
        return LabelledPixels(torch.from_numpy(self._images.read(indices)), labels, chances)

    def step(self, model: nn.Module, batch: LabelledPixels) -> StepOutput:
        images, labels, chances = from_pixels(batch.pixels), batch.labels, batch.chances
        if self._training.shift_fraction:
            images = shift(images, self._training.shift_fraction, chances[:, 1:])
        if self._training.horizontal_flips:
            images = torch.where((chances[:, 0] < 0.5)[:, None, None, None], images.flip(3), images)
        logits = model(images).logits.float()
        loss = functional.cross_entropy(logits, labels, label_smoothing=self._training.label_smoothing)
        return StepOutput(loss, {"accuracy": (logits.argmax(1) == labels).float().mean()})

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure at most 2048 images.

        The score is the share of wrong images, by which classifiers are compared. The loss rises earlier, when a
        network only becomes overconfident (Guo et al. 2017, fig. 3). Ties are common where there are few images; the
        loss breaks them, scaled so that it weighs less than one image.
        """
        _average_batch_norms(model)
        indices = evenly_spread(self._validation_indices, most=_VALIDATION_IMAGES)
        measured = measure_accuracy(model, self._validation_images, indices, runtime=runtime, is_exact=False)
        below_one = measured.loss / (1.0 + measured.loss)
        row = {"score": 1.0 - measured.top1 + below_one / measured.num_images, "accuracy": measured.top1}
        if measured.top5 is not None:
            row["top5_accuracy"] = measured.top5
        return row | {"loss": measured.loss}


@torch.inference_mode()
def measure_accuracy(
    model: nn.Module,
    images: Images,
    indices: np.ndarray,
    *,
    runtime: Runtime,
    batch_size: int = 256,
    is_exact: bool = True,
) -> Accuracy:
    """Compare a classifier's answers with the classes of some images; ignore images without a class.

    The model is a `Classifier` in evaluation mode, on the runtime's device, whose classes are those of the images. With
    `is_exact`, it computes in its own precision rather than the runtime's. Float32 results depend on `batch_size` in
    their last bits only.

    Raises:
        DataError: If none of the images has a class.
    """
    labelled = _labelled(images, indices)
    num_classes = len(images.classes)

    def measure(batch: ReadBatch) -> tuple[int, int, float]:
        labels = torch.from_numpy(images.labels[batch.indices]).to(runtime.device)
        pixels = torch.from_numpy(batch.pixels).to(runtime.device)
        with torch.autocast(runtime.device.type, torch.bfloat16, enabled=runtime.bfloat16 and not is_exact):
            output: ClassifierOutput = model(from_pixels(pixels))
        logits = output.logits.float()
        best = logits.topk(min(5, num_classes), dim=1).indices == labels[:, None]
        loss = functional.cross_entropy(logits, labels, reduction="none").cpu().double().sum().item()
        return int(best[:, 0].sum()), int(best.sum()), loss

    right, right_in_five, losses = zip(*spread_batches(images, labelled, batch_size, measure), strict=True)
    count = len(labelled)
    top5 = sum(right_in_five) / count if num_classes > 5 else None
    return Accuracy(sum(right) / count, top5, math.fsum(losses) / count, count)


def _average_batch_norms(model: nn.Module) -> None:
    """Give all processes the mean of the statistics that each collected from its part of the batches."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and num_processes() > 1:
            for statistics in (module.running_mean, module.running_var):
                assert statistics is not None
                sum_over_processes(statistics)
                statistics /= num_processes()


def _labelled(images: Images, indices: np.ndarray, side: str = "") -> np.ndarray:
    """Select the images that have a class."""
    labelled = indices[images.labels[indices] >= 0]
    if not len(labelled):
        raise DataError(f"{side}images with classes are needed, got {len(indices)} without; {_REMEDY}")
    return labelled


def _require_same_data(config: ClassifierConfig, images: Images, argument: str) -> None:
    if images.channels != config.in_channels:
        raise ConfigError(
            f"`in_channels` must be that of `{argument}` ({images.channels}), got {config.in_channels}; "
            "set it, or read the images with other `channels`"
        )
    if images.classes and images.classes != config.classes:
        raise ConfigError(
            f"`classes` must be those of `{argument}` ({', '.join(images.classes)}), got {', '.join(config.classes)}; "
            "train with the images' own classes, in their order"
        )
