"""Read what a visitor uploads: any file may come, and each that cannot be used is refused in one plain sentence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vqvae2.config import MAX_DECODED_PIXELS
from vqvae2.errors import DataError
from vqvae2.images import decode_image, from_pixels, image_info
from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["MOST_CODED_PIXELS", "MOST_PIXELS", "GivenImage", "bounded_size", "read_upload"]

MOST_PIXELS = 1_000_000
"""Larger uploads are scaled down first, so that an answer takes seconds."""
MOST_CODED_PIXELS = 256 * 256
"""Of an image that becomes a file, or back: the priors visit all of its codes, which takes seconds at this size."""


class GivenImage(NamedTuple):
    """An image that a visitor uploads, or an example."""

    image: Tensor
    """`(C, H, W)` in [-1, 1], on the CPU, with the pipeline's channels."""
    name: str
    note: str = ""
    """A sentence about what was done to it; empty if nothing."""


def read_upload(path: Path | str, pipeline: Pipeline, *, size: tuple[int, int] | None = None) -> GivenImage:
    """Read an uploaded image as the rest of the package reads images, see `decode_image`.

    Args:
        path: The file.
        pipeline: The image gets its channels and bit depth.
        size: Height and width in pixels to crop and scale the image to. None keeps its own size, up to `MOST_PIXELS`.

    Raises:
        DataError: If it is no readable image, or too large.
    """
    try:
        data = Path(path).read_bytes()
        info, wanted = image_info(data), size
        num_pixels = info.height * info.width
        if size is None and MOST_PIXELS < num_pixels <= MAX_DECODED_PIXELS:  # `decode_image` refuses more
            wanted = bounded_size(info.height, info.width, MOST_PIXELS)
        channels, bit_depth = pipeline.tokenizer.config.in_channels, pipeline.config.bit_depth
        pixels = decode_image(data, channels=channels, size=wanted, bit_depth=bit_depth)
    except DataError as error:
        raise DataError(f"this file cannot be used: {error}; take a PNG, JPEG, WebP, GIF, BMP or TIFF") from error
    note = ""
    if wanted is not None and wanted != (info.height, info.width):
        how = "cropped and scaled" if size else "scaled down"
        note = f"The image has {info.width}x{info.height} pixels and was {how} to {wanted[1]}x{wanted[0]}."
    return GivenImage(from_pixels(torch.from_numpy(pixels)[None])[0], Path(path).stem, note)


def bounded_size(height: int, width: int, most_pixels: int) -> tuple[int, int]:
    """Scale a size down, in its shape, to at most this many pixels."""
    factor = min(1.0, math.sqrt(most_pixels / (height * width)))
    return max(1, int(height * factor)), max(1, int(width * factor))
