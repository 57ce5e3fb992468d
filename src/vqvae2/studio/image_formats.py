"""Widespread image formats, as Pillow writes them, to compare our files with.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

import bisect
import functools
import io
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image, features

from vqvae2.images import from_pixels
from vqvae2.metrics.distortion import ReconstructionError

__all__ = ["FORMATS", "FormatFile", "ImageFormat", "psnr_db"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FormatFile:
    """An image as a file of some format."""

    name: str
    """The format's."""
    setting: str
    data: bytes
    pixels: np.ndarray
    """What the file decodes to, uint8 `(H, W, C)`."""
    psnr_db: float
    """How close that is to the image; infinite if lossless."""
    note: str = ""
    """What a fair reader has to know about it."""

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    @property
    def bits_per_pixel(self) -> float:
        return 8 * self.num_bytes / (self.pixels.shape[0] * self.pixels.shape[1])


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """One format, and the option that trades size for quality."""

    name: str
    pillow_name: str
    feature: str
    """Pillow's name of the library that it needs."""
    options: dict[str, Any] = field(default_factory=dict)
    varied: str = ""
    """Name of the option; empty if the format is lossless."""
    all_values: tuple[float, ...] = (0.0,)
    """Of that option, from the smallest files to the largest."""

    @property
    def is_lossless(self) -> bool:
        return not self.varied

    @property
    def is_available(self) -> bool:
        return bool(features.check(self.feature))

    def setting(self, value: float) -> str:
        """Name a value of the option."""
        return "lossless" if self.is_lossless else f"{self.varied} {value:g}"

    def encode(self, pixels: np.ndarray, value: float = 0) -> bytes:
        """Encode pixels, uint8 `(H, W, C)` with 1 or 3 channels, at a value of the option."""
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        buffer = io.BytesIO()
        image.save(buffer, self.pillow_name, **self.options_at(value))
        return buffer.getvalue()

    def options_at(self, value: float) -> dict[str, Any]:
        """Give Pillow's options."""
        return self.options if self.is_lossless else self.options | {self.varied: value}

    def decode(self, data: bytes, *, channels: int) -> np.ndarray:
        """Decode the bytes of a file, uint8 `(H, W, C)` with 1 or 3 channels."""
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        return pixels.reshape(*pixels.shape[:2], channels)

    def smallest_of_psnr(self, pixels: np.ndarray, least_psnr_db: float) -> FormatFile:
        """Write an image at the lowest value that reaches a PSNR, or else at the highest, found by bisection.

        The note says where the lowest value exceeds that PSNR, or the highest falls short of it.

        Args:
            pixels: uint8 `(H, W, C)` with 1 or 3 channels.
            least_psnr_db: What to reach.
        """

        @functools.cache
        def write(value: float) -> FormatFile:
            data = self.encode(pixels, value)
            decoded = self.decode(data, channels=pixels.shape[2])
            name, setting, psnr = self.name, self.setting(value), psnr_db(decoded, pixels)
            return FormatFile(name=name, setting=setting, data=data, pixels=decoded, psnr_db=psnr)

        index = bisect.bisect_left(self.all_values, least_psnr_db, key=lambda value: write(value).psnr_db)
        file = write(self.all_values[min(index, len(self.all_values) - 1)])
        if file.psnr_db < least_psnr_db:
            return replace(file, note="even its highest quality is less close")
        if index == 0 and not self.is_lossless:
            return replace(file, note="even its lowest quality is as close or closer")
        return file


def psnr_db(pixels: np.ndarray, original: np.ndarray) -> float:
    """Measure the PSNR of uint8 pixels `(H, W, C)` in decibels; infinite if they equal the original."""
    error = ReconstructionError()
    error.update(*(from_pixels(torch.from_numpy(image.copy())[None]) for image in (pixels, original)))
    return error.psnr_db


# Each at its most thorough. Pillow's default subsampling of colour, 4:2:0, is WebP's only one.
FORMATS = (
    ImageFormat(name="PNG", pillow_name="PNG", feature="zlib", options={"optimize": True}),
    ImageFormat(
        name="JPEG",
        pillow_name="JPEG",
        feature="jpg",
        options={"optimize": True},
        varied="quality",
        all_values=tuple(range(1, 96)),  # Pillow advises against more
    ),
    ImageFormat(
        name="WebP",
        pillow_name="WEBP",
        feature="webp",
        options={"method": 6},
        varied="quality",
        all_values=tuple(range(96)),
    ),
)
"""What the studio compares with."""
