"""Keep the samples that a classifier takes for what they are meant to be.

A classifier trained on real images gives each class-conditional sample the probability of its intended class. Kept are
the best fraction of each class, or all samples above a threshold. The fraction trades diversity for quality (Razavi et
al. 2019, sec. 3.3).

Candidates come one at a time, and only the number and score of each are remembered, so a large draw needs no more
memory than one batch.

Shapes: B images.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqvae2.errors import ConfigError
from vqvae2.models.classifier import Classifier

__all__ = ["BestFraction", "Decision", "intended_probability", "num_candidates"]


class Decision(NamedTuple):
    """What becomes of a candidate."""

    is_kept: bool
    displaced: int | None = None
    """Number of an earlier candidate that is no longer kept."""


class BestFraction:
    """Keeps the best of each class: at any time, the best of the candidates so far.

    Args:
        labels: Classes of all candidates that will be offered, int64 `(M,)`, in any order.
        num_kept: How many to keep of them. Each class keeps the same fraction of its candidates, up to rounding.

    Raises:
        ConfigError: If there are fewer candidates than are to be kept.
    """

    def __init__(self, labels: Tensor, num_kept: int) -> None:
        if not 0 < num_kept <= len(labels):
            raise ConfigError(
                f"`num_kept` must be in 1..{len(labels)}, the number of candidates, got {num_kept}; draw more of them"
            )
        # Share `num_kept` out in proportion: round down, then add one to each of the largest remainders.
        exact = torch.bincount(labels).numpy() * (num_kept / len(labels))
        self._quotas = np.floor(exact).astype(np.int64)
        order = np.argsort(self._quotas - exact, kind="stable")
        self._quotas[order[: num_kept - int(self._quotas.sum())]] += 1
        self._kept: list[list[tuple[float, int]]] = [[] for _ in exact]  # heaps, the worst first

    def offer(self, number: int, *, label: int, score: float) -> Decision:
        """Decide on the candidate of this number, given its class and the probability of that class."""
        kept = self._kept[label]
        entry = (score, -number)  # of equal scores, the earlier candidate stays
        if len(kept) < self._quotas[label]:
            heapq.heappush(kept, entry)
            return Decision(is_kept=True)
        if not kept or entry <= kept[0]:
            return Decision(is_kept=False)
        _, displaced = heapq.heapreplace(kept, entry)
        return Decision(is_kept=True, displaced=-displaced)


def num_candidates(num_images: int, acceptance_rate: float) -> int:
    """Count the images to draw so that this fraction of them is the wanted number.

    Raises:
        ConfigError: If the fraction is not above 0 and at most 1.
    """
    if not 0.0 < acceptance_rate <= 1.0:
        raise ConfigError(f"`acceptance_rate` must be in 0..1, 0 excluded, got {acceptance_rate}")
    return max(num_images, round(num_images / acceptance_rate))


@torch.no_grad()
def intended_probability(classifier: Classifier, images: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """Give the probability of each image's intended class.

    Args:
        classifier: On the images' device, in evaluation mode, with `num_classes` classes.
        images: `(B, C, H, W)` in [-1, 1].
        labels: Intended classes, int64 `(B,)`, in the classifier's order.

    Returns:
        float64 `(B,)`, on the CPU.

    Raises:
        ConfigError: If the classifier has another number of classes.
    """
    logits = classifier(images).logits.cpu().double()
    if logits.shape[1] != num_classes:
        raise ConfigError(
            f"`classifier` must have the pipeline's {num_classes} classes, in their order, got {logits.shape[1]}; "
            "train one on the same images with `vqvae2 train-classifier`"
        )
    return logits.softmax(dim=1).gather(1, labels.cpu()[:, None])[:, 0]
