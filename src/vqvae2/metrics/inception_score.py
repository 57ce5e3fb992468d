"""The Inception score: whether a classifier is sure of each image, and sees all classes among them.

Shapes: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from vqvae2.metrics.features import check_counts, check_dimensions, float64_device, row_blocks

__all__ = ["InceptionScore", "inception_score"]


@dataclass(frozen=True)
class InceptionScore:
    """Score of a set of images, over its splits."""

    mean: float
    """1 (all images alike to the classifier) to K (sure of each, all classes equally frequent)."""
    standard_deviation: float | None
    """Of the splits about their mean, divided by their number; None where there is one only."""


def inception_score(logits: np.ndarray, *, num_splits: int = 1, device: torch.device | str = "cpu") -> InceptionScore:
    """Give the exponential of the mean divergence of each image's class probabilities from those of all images.

    `exp(mean KL(p(y | x) || p(y)))`, the exponential of the mutual information of image and class. It never looks at
    real images, and only the score of Inception-v3 with the FID's weights compares with published ones.

    Args:
        logits: float `(N, K)`, whose softmax are the probabilities; logarithms of probabilities are logits as well.
            May be mapped into memory.
        num_splits: Into how many contiguous parts to cut the set, each scored by itself, at least 1. Smaller parts
            score lower. Publications customarily take 10.
        device: Where to compute.

    Raises:
        ValueError: If `num_splits` is below 1.
        DataError: If there are fewer images than splits, or logits that are not finite.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 4.
    """
    if num_splits < 1:
        raise ValueError(f"`num_splits` must be at least 1, got {num_splits}")
    name = "the Inception score" if num_splits == 1 else f"the Inception score of {num_splits} splits"
    check_counts(name, at_least=num_splits, logits=logits)
    check_dimensions(logits=logits)
    edges = [part * len(logits) // num_splits for part in range(num_splits + 1)]
    scores = [_score(logits[start:end], device) for start, end in pairwise(edges)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)) if num_splits > 1 else None)


def _score(logits: np.ndarray, device: torch.device | str) -> float:
    """Take the mean divergence as the entropy of the mean less the mean entropy, which one pass gathers."""
    summed = torch.zeros(logits.shape[1], dtype=torch.float64, device=float64_device(device))
    entropy = summed.new_zeros(())
    for _, block in row_blocks(logits, device=device):
        probabilities = block.softmax(dim=1)
        summed += probabilities.sum(dim=0)
        entropy += torch.special.entr(probabilities).sum()
    return (torch.special.entr(summed / len(logits)).sum() - entropy / len(logits)).exp().item()
