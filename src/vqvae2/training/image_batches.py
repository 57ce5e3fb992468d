"""Batches of images, as trainings on images read, mirror and show them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vqvae2.data import Images, evenly_spread
from vqvae2.images import from_pixels

__all__ = ["VALIDATION_IMAGES", "ImageBatch", "shown_images"]

VALIDATION_IMAGES = 1024
"""Enough images for a steady validation error while training; the final measurements use all of them."""

_SHOWN_IMAGES, _SHOWN_PIXELS = 8, 2048  # to trackers, beside each other; fewer where these are wider


class ImageBatch(NamedTuple):
    """Images as they are stored, uint8 or uint16 `(B, H, W, C)`."""

    pixels: Tensor
    chances: Tensor
    """float32 `(B, 3)`, uniform in [0, 1): decide how each image is mirrored and moved."""

    def images(self, *, with_flips: bool) -> Tensor:
        """Return the images as the model takes them, float32 `(B, C, H, W)` in [-1, 1]; flips mirror half of them."""
        images = from_pixels(self.pixels)
        if not with_flips:
            return images
        is_mirrored = self.chances[:, 0] < 0.5
        return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def shown_images(images: Images, device: torch.device) -> Tensor:
    """Read the few held-out images that trackers are shown, float32 `(B, C, H, W)` in [-1, 1]."""
    most = max(1, min(_SHOWN_IMAGES, _SHOWN_PIXELS // images.size[1]))
    shown = evenly_spread(images.indices("validation"), most=most)
    return from_pixels(torch.from_numpy(images.read(shown)).to(device))
