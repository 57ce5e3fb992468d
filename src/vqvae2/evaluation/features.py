"""Sets of images, and what a network sees in them: computed once, kept on disk, and read for every metric.

Shapes: N images, H x W pixels, C channels, D features, K classes of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel

from vqvae2.data import GrowingArrays, Images
from vqvae2.data.stores.files import open_array, read_header
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.images import PIXEL_TYPES, from_pixels
from vqvae2.metrics.frechet_distance import GaussianStatistics, gaussian_statistics
from vqvae2.system.processes import first_decides, spread

__all__ = ["FeatureSet", "ImageSet", "extract_features", "noise_images", "stored_images"]

_MAGIC, _VERSION = "vqvae2.features", 1
# Images: the system takes back the memory of larger maps after each layer, and gives it anew, page by page.
_AT_ONCE_ON_CPU = 2


class _Header(BaseModel, strict=True):
    num_features: int
    num_logits: int


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images in an order whose first n are as good as any n of them."""

    name: str
    """In words, for progress and results."""
    num_images: int
    fingerprint: str
    """Identifies the set; what is computed from it is kept under this name."""
    read: Callable[[int, int], np.ndarray]
    """Reads images `start` to `stop` as pixels `(stop - start, H, W, C)`, uint8 or uint16."""


def stored_images(store: Images, indices: np.ndarray, *, name: str) -> ImageSet:
    """Take some images of a store, in the order of the given numbers."""
    return ImageSet(
        name=name,
        num_images=len(indices),
        fingerprint=store.fingerprint(indices),
        read=lambda start, stop: store.read(indices[start:stop]),
    )


def noise_images(like: Images, count: int) -> ImageSet:
    """Make images of uniform noise, to show how bad a score can get."""
    shape, dtype = (*like.size, like.channels), np.dtype(PIXEL_TYPES[like.bit_depth])

    def read(start: int, stop: int) -> np.ndarray:
        images = [
            np.random.default_rng((0, number)).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
            for number in range(start, stop)
        ]
        return np.stack(images)

    return ImageSet(name="noise", num_images=count, fingerprint=f"noise-{count}-{dtype}-{shape}", read=read)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """What a network sees in a set of images; the arrays are mapped into memory."""

    features: np.ndarray
    """float32 `(N, D)`."""
    logits: np.ndarray
    """float32 `(N, K)`."""

    def __getitem__(self, indices: np.ndarray | slice) -> FeatureSet:
        """Take some of the images."""
        return FeatureSet(self.features[indices], self.logits[indices])

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
        batch = from_pixels(torch.from_numpy(images.read(start, min(start + batch_size, count))).to(device))
        seen = [network.module(part) for part in batch.split(at_once)]
        rows = {"features": [part.features for part in seen], "logits": [part.logits for part in seen]}
        return {name: torch.cat(parts).float().cpu().numpy() for name, parts in rows.items()}

    at_once = _AT_ONCE_ON_CPU if device.type == "cpu" else batch_size
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
