"""Quality against diversity: a classifier keeps fewer and fewer of the samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from vqvae2.data import Images, ordered_batches
from vqvae2.errors import DataError
from vqvae2.images import from_pixels
from vqvae2.pipeline.rejection import BestFraction, intended_probability, num_candidates

__all__ = ["Accepted", "accept_at_rates", "score_samples"]


class Accepted(NamedTuple):
    """The samples of a pool that one rate keeps."""

    acceptance_rate: float
    indices: np.ndarray
    """Numbers of these samples, ascending, int64 `(M,)`; every rate keeps M."""
    mean_score: float
    """Their mean probability of the intended class."""


def score_samples(samples: Images, classifier: nn.Module, *, device: torch.device, batch_size: int = 64) -> np.ndarray:
    """Give the probability of the intended class of each image of a store by a `Classifier`, float64 `(N,)`."""
    scores = []
    for batch in ordered_batches(np.arange(samples.num_images), batch_size):
        images = from_pixels(torch.from_numpy(samples.read(batch)).to(device))
        labels = torch.from_numpy(samples.labels[batch])
        scores.append(intended_probability(classifier, images, labels, num_classes=len(samples.classes)).numpy())
    return np.concatenate(scores)


def accept_at_rates(scores: np.ndarray, labels: np.ndarray, rates: Sequence[float]) -> list[Accepted]:
    """Apply rejection at several rates to one pool of samples.

    Every rate keeps as many images as the lowest rate keeps of the whole pool: distances depend on the number, and
    would not compare otherwise. A rate of 1 keeps the first images of the pool, whatever their scores.

    Args:
        scores: Probability of the intended class of each sample, float `(N,)`.
        labels: The intended classes, int64 `(N,)`.
        rates: Above 0, at most 1.

    Raises:
        DataError: If the lowest rate leaves nothing.
    """
    num_kept = int(len(scores) * min(rates) + 1e-9)  # in floating point, 0.05 of 20 is a little less than 1
    if num_kept == 0:
        raise DataError(
            f"an acceptance rate of {min(rates):g} leaves none of {len(scores)} samples; "
            f"draw at least {math.ceil(1 / min(rates))}"
        )
    accepted = []
    for rate in rates:
        count = min(num_candidates(num_kept, rate), len(scores))
        kept = _best(scores[:count], labels[:count], num_kept)
        accepted.append(Accepted(rate, kept, float(scores[kept].mean())))
    return accepted


def _best(scores: np.ndarray, labels: np.ndarray, num_kept: int) -> np.ndarray:
    """Offer all samples to the rule that `sample` follows, and give the numbers of those that it keeps."""
    rule, kept = BestFraction(torch.from_numpy(labels), num_kept), set()
    for number, (label, score) in enumerate(zip(labels.tolist(), scores.tolist(), strict=True)):
        decision = rule.offer(number, label=label, score=score)
        if decision.is_kept:
            kept.add(number)
        if decision.displaced is not None:
            kept.remove(decision.displaced)
    return np.array(sorted(kept), dtype=np.int64)
