"""Make pictures for the page: pixels that a browser shows, enlarged where they would be too small to look at.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from torch import Tensor

from vqvae2.images import to_8_bits, to_pixels, to_rgb

__all__ = ["code_map_picture", "enlarge", "enlargement", "to_picture"]

_SHOWN_PIXELS = 256  # of the longer side, at which a picture is large enough to look at


def to_picture(image: Tensor, *, bit_depth: int = 8) -> np.ndarray:
    """Turn an image `(C, H, W)`, about [-1, 1], into uint8 `(H, W, 3)`: grey in three channels, and over white."""
    pixels = to_pixels(to_rgb(image[None].float().cpu()), bit_depth=bit_depth)[0].numpy()
    return to_8_bits(pixels)


def enlargement(height: int, width: int) -> int:
    """Give the whole factor, at least 1, that makes a picture about as large as is good to look at."""
    return max(1, _SHOWN_PIXELS // max(height, width))


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Repeat the pixels of `(H, W, ...)` so that each becomes a square of `factor` x `factor`."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def code_map_picture(codes: Tensor, num_embeddings: int) -> np.ndarray:
    """Paint codes int64 `(h, w)` in 0..K-1, each code in a colour of its own: uint8 `(h, w, 3)`."""
    return _palette(num_embeddings)[codes.cpu().numpy()]


def _palette(num_colours: int) -> np.ndarray:
    """Give colours that are easy to tell apart from their neighbours: hues a golden angle apart, in four shades."""
    shades = ((0.55, 0.95), (0.75, 0.75), (0.45, 0.6), (0.85, 0.5))
    colours = [colorsys.hsv_to_rgb(code * 0.618034 % 1.0, *shades[code % len(shades)]) for code in range(num_colours)]
    return to_pixels(torch.tensor(colours).T[None, :, None] * 2.0 - 1.0)[0, 0].numpy()
