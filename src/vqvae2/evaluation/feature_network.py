"""A network in whose features sets of images are compared, with all that a result must say of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from vqvae2.errors import ConfigError
from vqvae2.models.checkpoint import fingerprint

__all__ = ["FeatureNetwork"]


@dataclass(frozen=True)
class FeatureNetwork:
    """A `Classifier` with a name, in evaluation mode.

    Args:
        name: Distances in its features are called after it: "Lite0" gives "Lite0-FD". Only features of Inception-v3
            with the published weights may be called "FID".
        module: Called with images `(B, C, H, W)` in [-1, 1], it gives a `ClassifierOutput`; see `Classifier`.
        preprocessing: How images get to it, in words, with the size and the filter of the resize.

    Raises:
        ConfigError: If the name cannot be part of a file's name.
    """

    name: str
    module: nn.Module
    preprocessing: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ConfigError(f"`name` must be of letters, digits, dots and hyphens, got {self.name!r}; files bear it")

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its weights, see `checkpoint.fingerprint`."""
        return fingerprint(self.module)

    @cached_property
    def key(self) -> str:
        """Tells what this network sees from what others do, and the same one after another preprocessing."""
        seen = hashlib.blake2b(f"{self.fingerprint} {self.preprocessing}".encode(), digest_size=8).hexdigest()
        return f"{self.name.lower()}-{seen}"
