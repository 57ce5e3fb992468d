"""What a network sees in sets of images: computed once, kept on disk, and read for every metric.

Shapes: N images, D features, K classes of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel

from vqvae2.data import GrowingArrays
from vqvae2.data.stores.files import open_array, read_header
from vqvae2.evaluation.image_set import ImageSet
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.images import from_pixels
from vqvae2.metrics.frechet_distance import GaussianStatistics, gaussian_statistics
from vqvae2.system.processes import first_decides, spread

__all__ = ["FeatureSet", "extract_features"]

_MAGIC, _VERSION = "vqvae2.features", 1


class _Header(BaseModel, strict=True):
    num_features: int
    num_logits: int


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """What a network sees in a set of images; the arrays are mapped into memory."""

    features: np.ndarray
    """float32 `(N, D)`."""
    logits: np.ndarray
    """float32 `(N, K)`."""

    @cached_property
    def statistics(self) -> GaussianStatistics:
        """Mean and covariance of the features, in float64."""
        return gaussian_statistics(self.features)


@torch.inference_mode()
def extract_features(
    network: FeatureNetwork,
    images: ImageSet,
    cache: Path,
    *,
    device: torch.device,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureSet:
    """Run images through a network in float32, unless an earlier call did.

    Memory does not grow with the number of images. Run a stopped extraction again to resume it.

    Args:
        network: On that device.
        images: Any number; features and logits are in their order.
        cache: Folder that keeps features by the fingerprints of network and images.
        device: Where to compute.
        batch_size: Images at a time.
        on_progress: Called with the images done and their total.
    """

    def look(start: int) -> dict[str, np.ndarray]:
        pixels = images.read(start, min(start + batch_size, count))
        output = network.module(from_pixels(torch.from_numpy(pixels).to(device)))
        return {"features": output.features.float().cpu().numpy(), "logits": output.logits.float().cpu().numpy()}

    count, directory = images.num_images, cache / network.key / images.fingerprint.replace(" ", "")
    if not first_decides(directory.exists):
        one = network.module(from_pixels(torch.from_numpy(images.read(0, 1)).to(device)))  # to learn the widths
        widths = {"features": one.features.shape[1], "logits": one.logits.shape[1]}
        shapes = {name: ((count, width), np.float32) for name, width in widths.items()}
        with GrowingArrays(directory, shapes) as arrays:
            for rows in spread(range(arrays.num_rows, count, batch_size), look):
                arrays.append(**rows)
                if on_progress is not None:
                    on_progress(arrays.num_rows, count)
            header = {
                "images": images.name,
                "images_fingerprint": images.fingerprint,
                "network": network.name,
                "network_fingerprint": network.fingerprint,
                "preprocessing": network.preprocessing,
                **{f"num_{name}": width for name, width in widths.items()},
            }
            arrays.finish("features.json", _MAGIC, _VERSION, header)
    found = read_header(directory / "features.json", _MAGIC, _VERSION, _Header)
    features, logits = (
        open_array(directory / f"{name}.npy", shape=(count, width), dtypes=(np.float32,))
        for name, width in (("features", found.num_features), ("logits", found.num_logits))
    )
    return FeatureSet(features, logits)
