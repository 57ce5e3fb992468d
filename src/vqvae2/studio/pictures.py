"""Make pictures for the page: 8-bit pixels, enlarged where they would be too small to look at.

Shapes: C channels, H x W pixels.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from vqvae2.images import to_8_bits, to_pixels, to_rgb

__all__ = ["enlarge", "enlarge_to", "enlargement", "to_picture"]


def to_picture(image: Tensor, *, bit_depth: int = 8) -> np.ndarray:
    """Turn an image `(C, H, W)`, about [-1, 1], into uint8 `(H, W, 3)`: grey in three channels, transparency on white.

    Args:
        image: On any device.
        bit_depth: The pipeline's. Images of 16 bits are rounded to 16 bits first, as everywhere.
    """
    return to_8_bits(to_pixels(to_rgb(image[None].float().cpu()), bit_depth=bit_depth)[0].numpy())


def enlargement(height: int, width: int, wanted_pixels: int) -> int:
    """Give the largest whole factor, at least 1, that keeps the longer side within the wanted pixels."""
    return max(1, wanted_pixels // max(height, width))


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Turn each pixel of `(H, W, ...)` into a square of `factor` x `factor` pixels."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def enlarge_to(picture: np.ndarray, wanted_pixels: int) -> np.ndarray:
    """Enlarge `(H, W, ...)` by the factor of `enlargement`."""
    return enlarge(picture, enlargement(picture.shape[0], picture.shape[1], wanted_pixels))
