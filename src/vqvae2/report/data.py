"""What a report is made of.

Shapes: N images, C channels, H W pixels, h w code grid of one level, K codebook size of one level. Pixels are uint8, or
uint16 for grey images of 16 bits; the page shows those at 8 bits, and measures them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Completions", "ReportData"]


@dataclass(frozen=True, kw_only=True)
class Completions:
    """Held-out images of which a part was drawn anew, all arrays as `ReportData.originals`."""

    title: str
    """Says which part."""
    originals: np.ndarray
    given: np.ndarray
    """What was known of them."""
    variants: Sequence[np.ndarray]
    """Each of them in one way, in another, ..."""


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that a report shows. What is empty or missing is left out of the page, or named as missing."""

    title: str
    results: dict[str, Any]
    """Nested numbers that `json` can write; they go to `results.json` unchanged."""
    tokenizer_curve: Sequence[Mapping[str, float]]
    """Rows of the tokenizer's log: step, seconds, loss, reconstruction_mse, and others such as validation_mse."""
    prior_curves: Sequence[Sequence[Mapping[str, float]]]
    """Rows of each prior's log, top first: step, seconds, loss (nats per code), and now and then
    validation_nats_per_code and train_nats_per_code."""
    level_names: Sequence[str]
    """Top first."""
    originals: np.ndarray
    """Held-out images, pixels `(N, H, W, C)`."""
    partial_reconstructions: Sequence[np.ndarray]
    """The same images from the top level only, from the two upper levels, ..., from all; each as `originals`."""
    code_maps: Sequence[np.ndarray]
    """The codes of the same images, integers `(N, h, w)` in 0..K-1, one array a level, top first."""
    num_embeddings: Sequence[int]
    """K of each level."""
    code_counts: Sequence[np.ndarray]
    """How often each code is used on held-out images, int64 `(K,)`, one array a level."""
    samples: Mapping[str, np.ndarray]
    """New images of each class, pixels `(n, H, W, C)`; the one key is "all" or "" if there are no classes."""
    completions: Sequence[Completions]
    """One entry for each way of hiding a part."""
    config: Mapping[str, Any]
    """The run's config, nested."""
    next_steps: Sequence[str]
    """Commands to try next."""
