"""Train a classifier on images with classes, and measure how often it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import ClassifierConfig, ClassifierTrainingConfig
from vqvae2.data import Images, ReadBatch, ReadingUnits, Split, evenly_spread, spread_batches
from vqvae2.errors import ConfigError, DataError
from vqvae2.images import from_pixels
from vqvae2.models.checkpoint import build_model
from vqvae2.models.classifier import ClassifierOutput
from vqvae2.models.lite0 import Lite0Classifier
from vqvae2.system.processes import num_processes, sum_over_processes
from vqvae2.training.augmentation import mirror, shift
from vqvae2.training.task import Runtime, StepOutput

__all__ = ["Accuracy", "ClassifierTask", "LabelledPixels", "measure_accuracy"]

# For the curve only, a little more than in the other recipes, since an accuracy is coarse: its standard error is 0.5
# per cent at 95 per cent of 2048 images. The final measurement uses all images.
_VALIDATION_IMAGES = 2048


_REMEDY = "sub-folders of a folder of images are classes"


class LabelledPixels(NamedTuple):
    """Images as they are stored, uint8 or uint16 `(B, H, W, C)`, and their classes, int64 `(B,)`."""

    pixels: Tensor
    labels: Tensor
    chances: Tensor
    """float32 `(B, 3)`, uniform in [0, 1): decide how the images are changed."""


@dataclass(frozen=True)
class Accuracy:
    """How well a classifier knows the classes of some images."""

    top1: float
    """Share of the images whose class has the highest logit."""
    top5: float | None
    """Share of the images whose class is among the five highest logits; None if there are five classes or fewer."""
    loss: float
    """Mean negative log-likelihood of the class, in nats, without label smoothing."""
    num_images: int
    """Images that have a class."""


class ClassifierTask:
    """Cross-entropy of the classes, with smoothed labels, on images that are moved and mirrored at random.

    Images without a class are left out.

    Args:
        config: The classifier.
        images: The data; it trains on the train side.
        training: For its seed, label smoothing, flips and shifts; weights are drawn from the seed, but those of a
            pretrained network.
        training_indices: Numbers of the images to train on; None for all of the train side.
        validation: Whose validation side to validate on; None for that of `images`.

    Raises:
        ConfigError: If channels or classes of the config are not those of the images, or a package is missing.
        DataError: If no image of a side has a class.
    """

    can_be_sharded = False  # batch norms have statistics of their own

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
        self._training_indices = _labelled(images, chosen, "train")
        held_out = self._validation_images.indices("validation")
        self._validation_indices = _labelled(self._validation_images, held_out, "validation")
        self.metadata: dict[str, Any] = {
            "image_size": list(images.size),
            "num_training_images": len(self._training_indices),
        }
        self._training = training
        torch.manual_seed(training.seed)
        self.model = build_model(config)
        if isinstance(self.model, Lite0Classifier):
            self.model.load_imagenet_weights()

    @property
    def training_indices(self) -> np.ndarray:
        return self._training_indices

    @property
    def units(self) -> ReadingUnits | None:
        return self._images.units

    def load(self, indices: list[int], chances: Tensor) -> LabelledPixels:
        labels = torch.from_numpy(self._images.labels[indices])
        return LabelledPixels(torch.from_numpy(self._images.read(indices)), labels, chances)

    def names(self, indices: list[int]) -> list[str]:
        return [self._images.names[index] for index in indices]

    def step(self, model: nn.Module, batch: LabelledPixels, device: torch.device) -> StepOutput:
        images = from_pixels(batch.pixels.to(device, non_blocking=True))
        labels = batch.labels.to(device, non_blocking=True)
        chances = batch.chances.to(device, non_blocking=True)
        if self._training.shift_fraction:
            images = shift(images, self._training.shift_fraction, chances[:, 1:])
        if self._training.horizontal_flips:
            images = mirror(images, chances[:, 0] < 0.5)
        logits = model(images).logits.float()
        loss = functional.cross_entropy(logits, labels, label_smoothing=self._training.label_smoothing)
        return StepOutput(loss, {"accuracy": (logits.argmax(1) == labels).float().mean()})

    def after_step(self, model: nn.Module) -> None:
        """Nothing follows a step of a classifier."""

    def close_epoch(self) -> dict[str, float]:
        return {}

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure at most 2048 images.

        The score is the share of wrong images, since that is what classifiers are compared by: the loss turns back
        earlier, when a network only becomes too sure (Guo et al. 2017, fig. 3). Among models with equally many wrong
        images, which are common where there are few, the loss decides: it weighs less than one image.
        """
        _average_batch_norms(model)
        indices = evenly_spread(self._validation_indices, most=_VALIDATION_IMAGES)
        measured = measure_accuracy(model, self._validation_images, indices, runtime=runtime, is_exact=False)
        below_one = measured.loss / (1.0 + measured.loss)
        row = {"score": 1.0 - measured.top1 + below_one / measured.num_images, "accuracy": measured.top1}
        if measured.top5 is not None:
            row["top5_accuracy"] = measured.top5
        return row | {"loss": measured.loss}

    def measure_training(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Nothing: the accuracy on the batches of the training shows the same."""
        return {}


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
    """Compare a classifier's answers with the classes of some images; those without a class are left out.

    Args:
        model: A `Classifier` in evaluation mode, on the runtime's device; its logits are in the order of the images'
            classes.
        images: The data.
        indices: Numbers of the images.
        runtime: Where to compute.
        batch_size: Images at a time; float32 results depend on it in their last bits only.
        is_exact: Compute in the model's own precision; else in the runtime's.

    Raises:
        DataError: If none of the images has a class.
    """
    labelled = indices[images.labels[indices] >= 0]
    if not len(labelled):
        raise DataError(f"images with classes are needed, got {len(indices)} without; {_REMEDY}")
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
    """Give all processes the mean of the statistics that each has collected from its part of the batches."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and num_processes() > 1:
            for statistics in (module.running_mean, module.running_var):
                assert statistics is not None
                sum_over_processes(statistics)
                statistics /= num_processes()


def _labelled(images: Images, indices: np.ndarray, split: Split) -> np.ndarray:
    """Numbers of those images of one side that have a class."""
    labelled = indices[images.labels[indices] >= 0]
    if not len(labelled):
        raise DataError(f"{split} images with classes are needed, got {len(indices)} without; {_REMEDY}")
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
