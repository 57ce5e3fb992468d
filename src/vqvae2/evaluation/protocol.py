"""What must stand beside a number for it to be compared with another."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from vqvae2.evaluation.feature_network import FeatureNetwork
from vqvae2.system.version import __version__

__all__ = ["Protocol", "versions"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a number came about; it goes into every result.

    One model has been given FIDs of 31 and of 38 under two protocols, so a number without one says little.
    """

    reference: str
    """What was compared with, in words."""
    reference_fingerprint: str
    """Hash of its pixels."""
    num_reference: int
    num_images: int
    """Images of the set that the number is of."""
    image_size: tuple[int, int]
    """Height and width in pixels at which images were compared."""
    resize: str
    """How images of other sizes were brought to it."""
    network: str | None = None
    """Whose features were compared; None where pixels or codes were."""
    network_fingerprint: str | None = None
    """Hash of its weights."""
    preprocessing: str | None = None
    """How images got from `image_size` into the network."""

    def seen_by(self, network: FeatureNetwork) -> Protocol:
        """Give the same protocol for numbers from a network's features."""
        return replace(
            self,
            network=network.name,
            network_fingerprint=network.fingerprint,
            preprocessing=network.preprocessing,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give all fields that are settled, and the versions of the libraries."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return fields | {"image_size": list(self.image_size), "versions": versions()}


def versions() -> dict[str, str]:
    """Give the versions of what computes the numbers."""
    return {
        "vqvae2": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
