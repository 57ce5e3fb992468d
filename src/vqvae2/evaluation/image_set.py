"""Sets of images to compare, read one batch at a time.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vqvae2.data import Images
from vqvae2.images import PIXEL_TYPES

__all__ = ["ImageSet", "noise_images", "stored_images"]


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
