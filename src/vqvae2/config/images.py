"""Config of images: how they are read and split."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import Config, one_of, require

MAX_DECODED_PIXELS = 89_478_485
"""Of an image that is decoded: Pillow's own limit, above which it warns. Decoding takes up to 20 bytes per pixel."""

BUILTIN_GROUP_PATTERN = "/([0-9a-f]+)[^/]*$"
"""For the built-in images: names of heads with the same shapes, in whatever colours, begin with the same hash."""

Resize = Literal["crop", "pad", "stretch"]
"""How an image gets its size: cover it and cut evenly, fit inside with a border, or change the aspect ratio."""
Channels = Annotated[int, one_of(1, 3, 4)]
BitDepth = Annotated[int, one_of(8, 16)]


def _require_regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"must be a regular expression ({error})") from error
    return pattern


@dataclass(frozen=True, kw_only=True)
class ImageConfig(Config):
    """How images are read and split."""

    size: tuple[PositiveInt, PositiveInt] = (64, 64)
    """Height and width in pixels; every image is resized to them."""
    channels: Channels = 3
    """1 grey, 3 RGB, 4 RGB with transparency."""
    bit_depth: BitDepth = 8
    """Bits per value of a pixel: 8, or 16 for grey images with finer steps."""
    resize: Resize = "crop"
    """How an image gets this size: crop covers it and cuts evenly; pad fits inside and adds a border (white, or
    transparent with 4 channels); stretch changes the aspect ratio."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the images that are held out, chosen by a hash of the file name."""
    group_pattern: Annotated[str, AfterValidator(_require_regular_expression)] | None = None
    """Regular expression on the path. Files with the same first group stay on one side of the split."""
    stream: bool = False
    """Read and decode images when they are needed, and keep no decoded copy: for sets that fit the disk only once."""

    def __post_init__(self) -> None:
        height, width = self.size
        require(
            height * width <= MAX_DECODED_PIXELS,
            f"`size` must be at most {MAX_DECODED_PIXELS} pixels in all, got {height} {width}",
        )
        require(
            self.bit_depth == 8 or self.channels == 1,
            f"`bit_depth` must be 8 unless `channels` is 1, got {self.bit_depth} for {self.channels} channels; "
            "change one of the two",
        )
