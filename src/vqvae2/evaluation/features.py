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

from vqvae2.data import GrowingArrays
from vqvae2.data.stores.files import open_array, read_header
from vqvae2.evaluation.image_set import ImageSet
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.images import from_pixels
from vqvae2.metrics.frechet_distance import GaussianStatistics, gaussian_statistics
from vqvae2.system.processes import first_decides, spread

__all__ = ["FeatureSet", "extract_features"]

_MAGIC, _VERSION = "vqvae2.features", 1


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """A folder with `features.npy` and `logits.npy`, mapped into memory."""

    directory: Path
    features: np.ndarray
    """float32 `(N, D)`."""
    logits: np.ndarray
    """float32 `(N, K)`."""

    @property
    def num_images(self) -> int:
        return len(self.features)

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
    """Run images through a network, in float32, or find what an earlier call left.

    Memory does not grow with the number of images, and a call that was stopped is resumed.

    Args:
        network: On that device.
        images: Any number.
        cache: Folder in which features lie by the fingerprints of network and images.
        device: Where to compute.
        batch_size: Images at a time.
        on_progress: Called with the images done and their total.

    Returns:
        Features and logits of all images, in their order.
    """
    key = images.fingerprint.replace(" ", "")
    directory = cache / network.key / key
    if not first_decides(directory.exists):
        _fill(network, images, directory, device=device, batch_size=batch_size, on_progress=on_progress)
    header = read_header(directory / "features.json", _MAGIC, _VERSION)
    features, logits = (
        open_array(
            directory / f"{name}.npy", shape=(images.num_images, header.get(f"num_{name}", -1)), dtypes=(np.float32,)
        )
        for name in ("features", "logits")
    )
    return FeatureSet(directory, features, logits)


def _fill(
    network: FeatureNetwork,
    images: ImageSet,
    directory: Path,
    *,
    device: torch.device,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    def look(start: int, stop: int) -> dict[str, np.ndarray]:
        output = network.module(from_pixels(torch.from_numpy(images.read(start, stop)).to(device)))
        return {"features": output.features.float().cpu().numpy(), "logits": output.logits.float().cpu().numpy()}

    count = images.num_images
    widths = {name: rows.shape[1] for name, rows in look(0, 1).items()}
    shapes = {name: ((count, width), np.float32) for name, width in widths.items()}
    with GrowingArrays(directory, shapes) as arrays:
        starts = range(arrays.num_rows, count, batch_size)
        for rows in spread(starts, lambda start: look(start, min(start + batch_size, count))):
            arrays.append(**rows)
            if on_progress is not None:
                on_progress(arrays.num_rows, count)
        header = {
            "images": images.name,
            "images_fingerprint": images.fingerprint,
            "network": network.name,
            "network_fingerprint": network.fingerprint,
            "preprocessing": network.preprocessing,
            "num_features": widths["features"],
            "num_logits": widths["logits"],
        }
        arrays.finish("features.json", _MAGIC, _VERSION, header)
