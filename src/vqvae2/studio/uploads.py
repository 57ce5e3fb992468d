"""Read what a visitor uploads: any file may come, and every one that cannot be used gets one plain sentence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vqvae2.config import MAX_PIXELS
from vqvae2.errors import DataError
from vqvae2.images import decode_image, from_pixels, image_info
from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["MOST_PIXELS", "Upload", "bounded_size", "read_upload"]

MOST_PIXELS = 1_000_000
"""Of an image that is worked on; larger ones are made smaller first, so that an answer takes seconds."""


class Upload(NamedTuple):
    """An image that was uploaded."""

    image: Tensor
    """`(C, H, W)` in [-1, 1], on the CPU, in the pipeline's channels."""
    note: str
    """What was done to it, in a sentence; empty if nothing."""


def read_upload(path: Path | str | None, pipeline: Pipeline, *, size: tuple[int, int] | None = None) -> Upload:
    """Read an uploaded image as the rest of the package reads images, see `decode_image`.

    Args:
        path: The file; None if there is none.
        pipeline: Whose channels and bit depth the image gets.
        size: Height and width in pixels that the image has to have: it is cut to that shape. None keeps its own, but
            for images of more than `MOST_PIXELS`, which are made smaller.

    Raises:
        DataError: If there is no file, or it is no image that can be read, or too large.
    """
    if path is None:
        raise DataError("there is no image yet; drop one, or pick an example")
    try:
        data = Path(path).read_bytes()
        info = image_info(data)
        wanted = size
        if size is None and MOST_PIXELS < info.height * info.width <= MAX_PIXELS:  # above, `decode_image` refuses it
            wanted = bounded_size(info.height, info.width, MOST_PIXELS)
        channels, bit_depth = pipeline.tokenizer.config.in_channels, pipeline.config.bit_depth
        pixels = decode_image(data, channels=channels, size=wanted, bit_depth=bit_depth)
    except DataError as error:
        raise DataError(f"this file cannot be used: {error}; take a PNG, JPEG, WebP, GIF, BMP or TIFF") from error
    note = ""
    if wanted is not None and wanted != (info.height, info.width):
        how = f"cut and scaled to {wanted[1]}x{wanted[0]}" if size else f"scaled down to {wanted[1]}x{wanted[0]}"
        note = f"The image has {info.width}x{info.height} pixels and was {how}."
    return Upload(from_pixels(torch.from_numpy(pixels)[None])[0], note)


def bounded_size(height: int, width: int, most_pixels: int) -> tuple[int, int]:
    """Give the size, in the same shape, of an image that is made smaller where it has more pixels than that."""
    factor = min(1.0, math.sqrt(most_pixels / (height * width)))
    return max(1, int(height * factor)), max(1, int(width * factor))
