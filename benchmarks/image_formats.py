"""The formats of the benchmark of files: those of the studio and more, each with the settings that are measured.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from PIL import features

from vqvae2.studio.image_formats import FORMATS as COMPARED
from vqvae2.studio.image_formats import ImageFormat

__all__ = ["FORMATS", "MeasuredFormat", "library_versions"]

_RATES = "quality_layers"


@dataclass(frozen=True, kw_only=True)
class MeasuredFormat(ImageFormat):
    """A format, and which values of its option are measured."""

    values: tuple[float, ...] = ()
    """Those whose mean quality is measured, from the smallest files to the largest."""
    middle: float = 0
    """The one that is timed."""
    notes: str = ""

    def setting(self, value: float) -> str:
        return f"rate {value:g}" if self.varied == _RATES else super().setting(value)

    def options_at(self, value: float) -> dict[str, Any]:
        return self.options | {_RATES: [value]} if self.varied == _RATES else super().options_at(value)

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


def _size(file: tuple[float, bytes]) -> int:
    return len(file[1])


def library_versions() -> dict[str, str]:
    """Give the versions of the libraries under Pillow."""
    return {one.name: str(features.version(one.feature)) for one in FORMATS if one.is_available}


_PNG, _JPEG, _WEBP = COMPARED

# Each at its most thorough, but for AVIF, whose last steps gain 3 % at six times the time.
FORMATS = (
    MeasuredFormat(**vars(_PNG)),
    MeasuredFormat(
        name="WebP lossless",
        pillow_name="WEBP",
        feature="webp",
        options={"lossless": True, "quality": 100, "method": 6},
    ),
    MeasuredFormat(
        **vars(_JPEG),
        values=(1, 5, 10, 20, 35, 50, 70, 85, 95),
        middle=50,
        notes="optimized Huffman tables, not progressive, chroma 4:2:0 (Pillow's default)",
    ),
    MeasuredFormat(
        **vars(_WEBP),
        values=(0, 5, 15, 30, 50, 70, 80, 90, 95),
        middle=50,
        notes="method 6, chroma 4:2:0 (the format's only one)",
    ),
    MeasuredFormat(
        name="AVIF",
        pillow_name="AVIF",
        feature="avif",
        options={"speed": 4},
        varied="quality",
        all_values=tuple(range(91)),
        values=(0, 10, 20, 30, 40, 50, 60, 70, 80, 90),
        middle=50,
        notes="speed 4, chroma 4:2:0 (Pillow's default)",
    ),
    MeasuredFormat(
        name="JPEG 2000",
        pillow_name="JPEG2000",
        feature="jpg_2000",
        options={"quality_mode": "rates", "irreversible": True},
        varied=_RATES,
        all_values=tuple(float(rate) for rate in np.geomspace(200, 2, 80)),
        values=(160, 110, 80, 56, 40, 30, 22, 16, 12, 8, 5, 3),
        middle=12,
        notes="irreversible wavelet, one layer of the given rate, in a JP2 file",
    ),
)
