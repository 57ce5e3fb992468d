"""What evaluation asks of a network that looks at images: features, and scores of classes.

Shapes: B images, C channels, H x W pixels, K classes, D features.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Classifier", "ClassifierOutput"]


class ClassifierOutput(NamedTuple):
    """What a classifier makes of some images."""

    logits: Tensor
    """float `(B, K)`; their softmax is the probability of each class."""
    features: Tensor
    """float `(B, D)`, from which the logits are computed; distances between sets of images are measured in them."""


class Classifier(Protocol):
    """Any module that is called with images and gives logits and features.

    It takes images of any size, float `(B, C, H, W)` in [-1, 1], and resizes and normalizes them as it was trained.
    """

    def __call__(self, images: Tensor) -> ClassifierOutput:
        """Look at images `(B, C, H, W)` in [-1, 1]."""
        ...
