"""A file of a pipeline beside those of the formats that people know.

Shapes: H x W pixels, C channels. Pixels are uint8, 1 channel for grey and else 3.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vqvae2.codec.bitstream import CHECK_BYTES, Bitstream
from vqvae2.codec.description import describe_compressed
from vqvae2.errors import BitstreamError, DataError
from vqvae2.images import crop_to, to_8_bits, to_pixels, to_rgb
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.hooks import Hooks
from vqvae2.studio.image_formats import FORMATS, ImageFormat, psnr_db
from vqvae2.studio.uploads import bounded_size

__all__ = [
    "MOST_FILE_BYTES",
    "MOST_PIXELS",
    "ComparedFile",
    "Comparison",
    "OpenedFile",
    "compare_files",
    "file_of_format",
    "open_file",
    "shrink_to_compress",
]

MOST_PIXELS = 256 * 256
"""Of an image that is compressed or decompressed in the studio: every code is a step of a walk, which takes seconds."""
MOST_FILE_BYTES = 2**20
"""Of a file that is opened: more than the codes of so many pixels take, raw, at any size of codebook."""

_COMPARED = ("PNG", "JPEG", "WebP")


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedFile:
    """The file of one format."""

    name: str
    """Of the format."""
    setting: str
    num_bytes: int
    bits_per_pixel: float
    psnr_db: float
    """How near it is to the image at 8 bits; infinite where nothing is lost."""
    pixels: np.ndarray
    """What it decodes to, `(H, W, C)`."""
    note: str = ""
    """What a reader has to know to be fair to it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What an image becomes in several formats."""

    data: bytes
    """Of our file."""
    original: np.ndarray
    """At 8 bits, `(H, W, C)`."""
    files: tuple[ComparedFile, ...]
    """Ours first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedFile:
    """An image out of a file."""

    pixels: np.ndarray
    """`(H, W, C)`."""
    previews: tuple[np.ndarray, ...]
    """The same from the top level alone, from the two upper ones, ..., without that of all levels."""
    preview_bytes: tuple[int, ...]
    """How much of the file each preview needs, from its beginning."""
    facts: dict[str, Any]
    """What the file says of itself, see `describe_compressed`."""


def shrink_to_compress(image: Tensor) -> tuple[Tensor, str]:
    """Make an image `(C, H, W)` in [-1, 1] smaller if it has more than `MOST_PIXELS`, and say so in a sentence."""
    height, width = image.shape[1:]
    if height * width <= MOST_PIXELS:
        return image, ""
    size = bounded_size(height, width, MOST_PIXELS)
    smaller = functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(-1.0, 1.0)
    return smaller, (
        f"It was scaled down from {width}x{height} to {size[1]}x{size[0]} before it was compressed, since every code "
        "takes time; `vqvae2 compress` takes larger ones."
    )


@torch.inference_mode()
def compare_files(pipeline: Pipeline, image: Tensor, *, hooks: Hooks = Hooks()) -> Comparison:
    """Compress an image by a pipeline, without loss, and by others at the lowest quality that is as good as ours.

    Args:
        pipeline: With priors or, for raw files, without.
        image: `(C, H, W)` in [-1, 1].
        hooks: Receive progress.

    Raises:
        DataError: If the image has more than `MOST_PIXELS`.
        BitstreamError: If it cannot be coded.
    """
    height, width = image.shape[1:]
    if height * width > MOST_PIXELS:
        raise DataError(
            f"the studio compresses images of at most {MOST_PIXELS} pixels, this one has {height * width}; make it "
            "smaller, or use `vqvae2 compress`"
        )
    data = pipeline.compress(image, hooks=hooks)  # which decodes it again, to be sure of it
    pixels = _shown(pipeline.reconstruct(image[None])[0], pipeline)
    original = _shown(image, pipeline)
    ours = ComparedFile(
        name="vqvae2",
        setting="prior" if pipeline.priors else "raw",
        num_bytes=len(data),
        bits_per_pixel=8 * len(data) / (height * width),
        psnr_db=psnr_db(pixels, original),
        pixels=pixels,
    )
    others = [
        file_of_format(one, original, ours.psnr_db) for one in FORMATS if one.name in _COMPARED and one.is_available
    ]
    return Comparison(data=data, original=original, files=(ours, *others))


@torch.inference_mode()
def open_file(pipeline: Pipeline, data: bytes, *, hooks: Hooks = Hooks()) -> OpenedFile:
    """Decompress a file, also from its upper levels alone.

    Args:
        pipeline: The one that the file was made with.
        data: Of the file.
        hooks: Receive progress.

    Raises:
        BitstreamError: If it is no such file, damaged, of another pipeline, or of an image of more than `MOST_PIXELS`.
    """
    stream = pipeline.codec.read(data)
    height, width = stream.header.size
    if height * width > MOST_PIXELS:
        raise BitstreamError(
            f"the studio opens files of at most {MOST_PIXELS} pixels, this one has {height * width}; "
            "use `vqvae2 decompress`"
        )
    codes = pipeline.codec.decompress_codes([stream], hooks=hooks)
    levels = [
        _shown(crop_to(pipeline.decode(codes, levels=level), height, width)[0], pipeline)
        for level in range(1, len(codes) + 1)
    ]
    return OpenedFile(
        pixels=levels[-1],
        previews=tuple(levels[:-1]),
        preview_bytes=_preview_bytes(stream),
        facts=describe_compressed(io.BytesIO(data)),
    )


def _preview_bytes(stream: Bitstream) -> tuple[int, ...]:
    header = stream.header
    ends = np.cumsum([count + CHECK_BYTES for count in header.payload_bytes]) + len(header.pack())
    return tuple(int(end) for end in ends[:-1])


def file_of_format(one: ImageFormat, original: np.ndarray, least_psnr_db: float) -> ComparedFile:
    """Write an image without loss, or at the lowest quality that is as good as wanted, or say that none is.

    Args:
        one: The format.
        original: `(H, W, C)`.
        least_psnr_db: The PSNR that is wanted.
    """
    found = one.smallest_of_psnr(original, least_psnr_db)
    note = ""
    if not one.is_lossless:
        note = _note(found.value, one.all_values, found.psnr_db, least_psnr_db)
    return ComparedFile(
        name=one.name,
        setting=one.setting(found.value),
        num_bytes=len(found.data),
        bits_per_pixel=8 * len(found.data) / (original.shape[0] * original.shape[1]),
        psnr_db=found.psnr_db,
        pixels=found.pixels,
        note=note,
    )


def _note(value: float, values: tuple[float, ...], reached_db: float, wanted_db: float) -> str:
    if reached_db < wanted_db:
        return "even its highest quality is not as near"
    if value == values[0]:
        return "even its lowest quality is as near or nearer"
    return ""


def _shown(image: Tensor, pipeline: Pipeline) -> np.ndarray:
    """Turn `(C, H, W)` into 8 bits, grey or, over white, RGB: what the other formats take."""
    images = image[None].float().cpu()
    images = to_rgb(images) if images.shape[1] == 4 else images
    return to_8_bits(to_pixels(images, bit_depth=pipeline.config.bit_depth)[0].numpy())
