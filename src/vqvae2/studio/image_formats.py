"""The image formats that people know, as Pillow writes them, for our files to be compared with.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

import bisect
import functools
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from PIL import Image, features

from vqvae2.images import from_pixels
from vqvae2.metrics.distortion import ReconstructionError

__all__ = ["FORMATS", "ImageFormat", "SettingFile", "library_versions", "psnr_db"]

_RATES = "quality_layers"


@dataclass(frozen=True, kw_only=True, eq=False)
class SettingFile:
    """The file of an image at one setting of a format."""

    value: float
    """Of the format's option."""
    data: bytes
    pixels: np.ndarray
    """What the file decodes to, uint8 `(H, W, C)`."""
    psnr_db: float
    """How near that is to the image; infinite where nothing is lost."""


@dataclass(frozen=True)
class ImageFormat:
    """One format, and one of its options that trades size for quality."""

    name: str
    pillow_name: str
    feature: str
    """What Pillow calls the library that it needs."""
    options: dict[str, Any] = field(default_factory=dict)
    varied: str = ""
    """Name of the option; empty where nothing is lost."""
    values: tuple[float, ...] = ()
    """Of that option, from the smallest files to the largest; those whose mean quality is measured."""
    middle: float = 0
    """The one that is timed."""
    all_values: tuple[float, ...] = ()
    """Those among which a file of some size is looked for."""
    notes: str = ""

    @property
    def is_lossless(self) -> bool:
        return not self.varied

    @property
    def is_available(self) -> bool:
        return bool(features.check(self.feature))

    def encode(self, pixels: np.ndarray, value: float = 0) -> bytes:
        """Encode pixels, uint8 `(H, W, C)` of 1 or 3 channels, at some value of the option."""
        options = dict(self.options)
        if self.varied:
            options[self.varied] = [value] if self.varied == _RATES else value
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        buffer = io.BytesIO()
        image.save(buffer, self.pillow_name, **options)
        return buffer.getvalue()

    def decode(self, data: bytes, *, channels: int) -> np.ndarray:
        """Decode the bytes of a file, uint8 `(H, W, C)` of 1 or 3 channels."""
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        return pixels.reshape(*pixels.shape[:2], channels)

    def setting(self, value: float) -> str:
        """Name a value of the option."""
        if self.is_lossless:
            return "lossless"
        return f"{'rate' if self.varied == 'quality_layers' else self.varied} {value:g}"

    def useful_values(self, shape: tuple[int, int, int]) -> tuple[float, ...]:
        """Give the values to measure on images of that shape, without rates that not even a blank one keeps to."""
        if self.varied != _RATES:
            return self.values or (0,)
        most = prod(shape) / len(self.blank(shape))
        return tuple(rate for rate in self.values if rate <= most)

    def blank(self, shape: tuple[int, int, int]) -> bytes:
        """Give the smallest file of a black image: what the container takes."""
        return self.encode(np.zeros(shape, dtype=np.uint8), self.values[0] if self.values else 0)

    def nearest_file(self, pixels: np.ndarray, num_bytes: int) -> tuple[float, bytes]:
        """Find the smallest file of an image that has at least so many bytes, or else its largest, with its value."""
        files = [(value, self.encode(pixels, value)) for value in self.all_values]
        large = [file for file in files if len(file[1]) >= num_bytes]
        return min(large, key=_size) if large else max(files, key=_size)

    def smallest_of_psnr(self, pixels: np.ndarray, least_psnr_db: float) -> SettingFile:
        """Find the lowest value at which an image is as good as wanted, or else the highest, by bisection.

        What is found may be better than wanted even at the lowest value, or worse even at the highest.

        Args:
            pixels: uint8 `(H, W, C)` of 1 or 3 channels.
            least_psnr_db: The PSNR that is wanted.
        """
        values = self.all_values or (0.0,)
        at: Callable[[int], SettingFile] = functools.cache(lambda index: self._file(pixels, values[index]))
        index = bisect.bisect_left(range(len(values)), least_psnr_db, key=lambda index: at(index).psnr_db)
        return at(min(index, len(values) - 1))

    def _file(self, pixels: np.ndarray, value: float) -> SettingFile:
        data = self.encode(pixels, value)
        decoded = self.decode(data, channels=pixels.shape[2])
        return SettingFile(value=value, data=data, pixels=decoded, psnr_db=psnr_db(decoded, pixels))


def psnr_db(pixels: np.ndarray, original: np.ndarray) -> float:
    """Give the PSNR of uint8 pixels `(H, W, C)` in decibels; infinite where they are the original's."""
    error = ReconstructionError()
    error.update(*(from_pixels(torch.from_numpy(image.copy())[None]) for image in (pixels, original)))
    return error.psnr_db


def _size(file: tuple[float, bytes]) -> int:
    return len(file[1])


def library_versions() -> dict[str, str]:
    """Give the versions of the libraries under Pillow."""
    return {one.name: str(features.version(one.feature)) for one in FORMATS if one.is_available}


# Each at its most thorough, but for AVIF, whose last steps gain 3 % at six times the time.
FORMATS = (
    ImageFormat("PNG", "PNG", "zlib", {"optimize": True}),
    ImageFormat("WebP lossless", "WEBP", "webp", {"lossless": True, "quality": 100, "method": 6}),
    ImageFormat(
        "JPEG",
        "JPEG",
        "jpg",
        {"optimize": True},
        varied="quality",
        values=(1, 5, 10, 20, 35, 50, 70, 85, 95),
        middle=50,
        all_values=tuple(range(1, 96)),
        notes="optimized Huffman tables, not progressive, chroma 4:2:0 (Pillow's default)",
    ),
    ImageFormat(
        "WebP",
        "WEBP",
        "webp",
        {"method": 6},
        varied="quality",
        values=(0, 5, 15, 30, 50, 70, 80, 90, 95),
        middle=50,
        all_values=tuple(range(96)),
        notes="method 6, chroma 4:2:0 (the format's only one)",
    ),
    ImageFormat(
        "AVIF",
        "AVIF",
        "avif",
        {"speed": 4},
        varied="quality",
        values=(0, 10, 20, 30, 40, 50, 60, 70, 80, 90),
        middle=50,
        all_values=tuple(range(91)),
        notes="speed 4, chroma 4:2:0 (Pillow's default)",
    ),
    ImageFormat(
        "JPEG 2000",
        "JPEG2000",
        "jpg_2000",
        {"quality_mode": "rates", "irreversible": True},
        varied=_RATES,
        values=(160, 110, 80, 56, 40, 30, 22, 16, 12, 8, 5, 3),
        middle=12,
        all_values=tuple(float(rate) for rate in np.geomspace(200, 2, 80)),
        notes="irreversible wavelet, one layer of the given rate, in a JP2 file",
    ),
)
