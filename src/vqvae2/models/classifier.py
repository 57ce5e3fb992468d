"""The interface of networks that look at images: features, and scores of classes.

Shapes: B images, C channels, H x W pixels, K classes, D features.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Classifier", "ClassifierOutput"]


class ClassifierOutput(NamedTuple):
    """The result of a classifier for some images."""

    logits: Tensor
    """float `(B, K)`; their softmax gives the probability of each class."""
    features: Tensor
    """float `(B, D)`: input of the layer that computes the logits; distances between sets of images use them."""


class Classifier(Protocol):
    """Any module that turns images into logits and features."""

    def __call__(self, images: Tensor) -> ClassifierOutput:
        """Look at images of any size, float `(B, C, H, W)` in [-1, 1]; resize and normalize them as in training."""
        ...
