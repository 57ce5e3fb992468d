"""A network in whose features sets of images are compared, with all that a result must say of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from vqvae2.checkpoint import fingerprint

__all__ = ["FeatureNetwork"]


@dataclass(frozen=True)
class FeatureNetwork:
    """A `Classifier` with a name, in evaluation mode.

    Args:
        name: Distances in its features are called after it: "Lite0" gives "Lite0-FD". Only features of Inception-v3
            with the published weights may be called "FID".
        module: Called with images `(B, C, H, W)` in [-1, 1], it gives a `ClassifierOutput`; see `Classifier`.
        preprocessing: How images get to it, in words, with the size and the filter of the resize.
    """

    name: str
    module: nn.Module
    preprocessing: str

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its weights, see `checkpoint.fingerprint`."""
        return fingerprint(self.module)
