"""Make pictures for the page: pixels that a browser shows, enlarged where they would be too small to look at.

Shapes: C channels, H x W pixels, h x w code grid of one level.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from vqvae2.images import to_8_bits, to_pixels, to_rgb
from vqvae2.report.pictures import code_colors

__all__ = ["code_map_picture", "enlarge", "enlargement", "to_picture"]

_SHOWN_PIXELS = 256  # of the longer side, at which a picture is large enough to look at


def to_picture(image: Tensor, *, bit_depth: int = 8) -> np.ndarray:
    """Turn an image `(C, H, W)`, about [-1, 1], into uint8 `(H, W, 3)`: grey in three channels, and over white.

    Args:
        image: On any device.
        bit_depth: Of the pipeline: grey images of 16 bits are rounded as they are wherever 8 bits are made of them.
    """
    pixels = to_pixels(to_rgb(image[None].float().cpu()), bit_depth=bit_depth)[0].numpy()
    return to_8_bits(pixels)


def enlargement(height: int, width: int) -> int:
    """Give the whole factor, at least 1, that makes a picture about as large as is good to look at."""
    return max(1, _SHOWN_PIXELS // max(height, width))


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Repeat the pixels of `(H, W, ...)` so that each becomes a square of `factor` x `factor`."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def code_map_picture(codes: Tensor) -> np.ndarray:
    """Paint codes int64 `(h, w)` in the colours that they have in reports: uint8 `(h, w, 3)`."""
    return code_colors(codes.cpu().numpy())
