"""Train the prior of one level on extracted codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vqvae2.codes import Codes
from vqvae2.config import PriorConfig, PriorTrainingConfig
from vqvae2.data import CodeStore, evenly_spread, ordered_batches
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.models.checkpoint import build_model
from vqvae2.models.prior import Prior, code_nats
from vqvae2.system.processes import spread
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = ["CodeBatch", "PriorTask", "measure_nats_per_code"]

# Enough images for a curve; the final likelihoods use all of them.
_VALIDATION_IMAGES = 1024
# Each validation also measures training images, to show the gap: at most a quarter of the above, so that a validation
# of a large set takes at most 1.25 times as long. The loss would not show the gap, since it includes dropout.
_TRAINING_IMAGES = 256


class CodeBatch(NamedTuple):
    """Codes of all levels down to the prior's own, and classes `(B,)`; `num_classes` means that there is no class."""

    codes: Codes
    labels: Tensor


class PriorTask(Task):
    """Cross-entropy of one level's codes given the levels above and the class (Razavi et al. 2019, sec. 3.2).

    The seed of the training draws the weights, unless there are some to `start` from, which may lack a few.

    Raises:
        CheckpointError: If the data does not match the config.
        ConfigError: If the training has flips, but the data has no codes of mirrored images.
    """

    model: Prior
    can_be_sharded = True

    def __init__(
        self,
        config: PriorConfig,
        codes: CodeStore,
        training: PriorTrainingConfig,
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        level = config.space.level
        if codes.num_embeddings[: level + 1] != config.space.num_embeddings:
            raise CheckpointError(
                f"`codes` must have codebooks of {config.space.num_embeddings} codes for this prior, "
                f"got {codes.num_embeddings[: level + 1]}; extract them with the prior's own tokenizer"
            )
        self._codes = codes
        self.training_indices, self.names = codes.indices("train"), codes.names  # `units` are none: codes lie in memory
        codes.require_tokenizer(config.tokenizer)
        views, has_flips = range(codes.extraction.num_views), codes.extraction.horizontal_flips
        if training.horizontal_flips and not has_flips:
            raise ConfigError(
                "`horizontal_flips` needs the codes of mirrored images, which `codes` lacks; "
                "extract them again with `horizontal_flips`, or train without flips"
            )
        # Every other view is mirrored. The last view comes first, as it did when there were only mirrored ones.
        self._views = np.array(views[:: 1 if training.horizontal_flips or not has_flips else 2][::-1])
        self.metadata = {"shape": list(codes.shapes[level])}
        self._label_dropout = training.label_dropout
        torch.manual_seed(training.seed)
        model = build_model(config)
        assert isinstance(model, Prior)
        model.load_state_dict(start or {}, strict=False)
        self.model = model

    def load(self, indices: list[int], chances: Tensor) -> CodeBatch:
        """Read the codes of one view of each item, and drop the class of some."""
        numbers, space = np.asarray(indices), self.model.space
        views = self._views[(chances[:, 0].numpy() * len(self._views)).astype(np.int64)]
        codes, labels = load_codes(self._codes, numbers, views, levels=space.level + 1, num_classes=space.num_classes)
        return CodeBatch(codes, torch.where(chances[:, 1] < self._label_dropout, space.num_classes, labels))

    def step(self, model: nn.Module, batch: CodeBatch) -> StepOutput:
        nats = code_nats(model, batch.codes, batch.labels if self.model.space.num_classes else None)
        return StepOutput(nats.mean(), {})

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        assert isinstance(model, Prior)
        indices = evenly_spread(self._codes.indices("validation"), most=_VALIDATION_IMAGES)
        nats = measure_nats_per_code(model, self._codes, indices, runtime=runtime)
        return {"score": nats, "nats_per_code": nats, "bits_per_code": nats / math.log(2.0)}

    def measure_training(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure as many training images as validation images, at most 256."""
        assert isinstance(model, Prior)
        most = min(_TRAINING_IMAGES, len(self._codes.indices("validation")))
        indices = evenly_spread(self.training_indices, most=most)
        return {"nats_per_code": measure_nats_per_code(model, self._codes, indices, runtime=runtime)}


@torch.inference_mode()
def measure_nats_per_code(
    prior: Prior, codes: CodeStore, indices: np.ndarray, *, runtime: Runtime, batch_size: int = 64
) -> float:
    """Return the mean negative log-likelihood of some images of a store, in nats per code of the prior's level."""
    space = prior.space

    def measure(numbers: np.ndarray) -> tuple[float, int]:
        batch = load_codes(codes, numbers, levels=space.level + 1, num_classes=space.num_classes)
        with runtime.autocast():
            labels = batch.labels.to(runtime.device) if space.num_classes else None
            nats = code_nats(prior, batch.codes.to(runtime.device), labels)
        return nats.cpu().double().sum().item(), nats.numel()

    sums, counts = zip(*spread(ordered_batches(indices, batch_size), measure, idle_too=True), strict=True)
    return math.fsum(sums) / sum(counts)


def load_codes(
    store: CodeStore, indices: np.ndarray, views: np.ndarray | int = 0, *, levels: int, num_classes: int
) -> CodeBatch:
    """Read codes of the upper `levels` levels, and their classes, `num_classes` where an image has none."""
    codes = store.batch(indices, views)
    labels = torch.from_numpy(store.labels[indices])
    return CodeBatch(Codes(codes.maps[:levels]), torch.where(labels < 0, num_classes, labels))
