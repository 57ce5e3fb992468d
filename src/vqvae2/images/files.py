"""Image files: the one place where PIL opens what comes from others, and where pixels become PNG files."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, TiffImagePlugin

from vqvae2.config import MAX_DECODED_PIXELS, Resize
from vqvae2.errors import DataError
from vqvae2.images.batches import to_8_bits
from vqvae2.images.colours import srgb_transform
from vqvae2.images.png_texts import without_long_texts

__all__ = ["ImageInfo", "begins_like_image", "decode_image", "encode_png", "image_info", "save_png"]

# PIL knows many more formats, and one of them (EPS) starts a program.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_BORDERS: dict[str, tuple[int, ...] | float] = {"RGBA": (255, 255, 255, 0), "F": 65535.0}  # white everywhere else
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)
_PHOTOMETRIC_TAG, _SAMPLE_FORMAT_TAG = 262, 339  # of a TIFF: whether 0 is white (0) or black (1); 2 is signed
_TILE_TAGS = (322, 323)  # width and height of a TIFF's tiles; each tile is decoded whole
# `ImageOps.exif_transpose` also rewrites the other EXIF fields, and fails if they are damaged.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")


class ImageInfo(NamedTuple):
    """What the head of an image file tells."""

    height: int
    """In pixels, as shown: after EXIF orientation."""
    width: int
    is_grey: bool
    bit_depth: int
    """16 for grey images of 16 bits or more, else 8: PIL reads colours with 8 bits only."""


def begins_like_image(data: bytes) -> bool:
    """Tell by its first 16 bytes whether a file may be an image of a format that is read."""
    is_webp, is_bmp = data[:4] + data[8:12] == b"RIFFWEBP", data[:2] + data[6:10] == b"BM\0\0\0\0"
    return data.startswith(_BEGINNINGS) or is_webp or is_bmp


def image_info(data: bytes) -> ImageInfo:
    """Read size, colour and bit depth from the head of an image file, without decoding it.

    Raises:
        DataError: If PIL cannot open the bytes as an image.
    """
    with _reported(), _open(data) as image:
        lies_on_side = _orientation(image) >= 5
        height, width = (image.width, image.height) if lies_on_side else (image.height, image.width)
        is_16_bit = _is_16_bit(image)
        return ImageInfo(height, width, is_16_bit or image.mode in ("1", "L", "LA"), 16 if is_16_bit else 8)


def decode_image(
    data: bytes, *, channels: int, size: tuple[int, int] | None = None, resize: Resize = "crop", bit_depth: int = 8
) -> np.ndarray:
    """Decode one image file into pixels.

    Takes the first frame of an animation, applies EXIF orientation, turns the colours of a profile into sRGB, and lays
    transparency over white unless `channels` is 4. Between 8 and 16 bits, values are scaled so that black and white
    stay what they are; floats are read as grey of 16 bits, 0 as black and 1 as white. Resizing uses a Lanczos filter,
    at the wanted bit depth.

    Args:
        data: The bytes of the file.
        channels: 1 for grey, 3 for RGB, 4 for RGBA.
        size: Wanted height and width in pixels; None keeps the image's own size.
        resize: How the image gets to that shape, see `Resize`.
        bit_depth: 8, or 16 for grey.

    Returns:
        Array `(H, W, channels)`, uint8 or, of 16 bits, uint16.

    Raises:
        ValueError: If `bit_depth` is 16 and `channels` is not 1.
        DataError: If PIL cannot decode the bytes completely, or if values are negative, NaN, integers above 65,535, or
            floats above 1.
    """
    if bit_depth == 16 and channels != 1:
        raise ValueError(f"`channels` must be 1 where `bit_depth` is 16, got {channels}; read 8 bits instead")
    with _reported(), _open(data) as opened:
        opened.load()
        _require_unsigned(opened)
        image = Image.fromarray(_values_of_16_bits(opened)) if _is_16_bit(opened) else opened
        turn = _TURNS.get(_orientation(opened))
        image = image if turn is None else image.transpose(turn)
        if "icc_profile" in image.info:
            image = _to_srgb(image, size, resize)
        image = _to_16_bits(image) if bit_depth == 16 else _to_mode(image, _MODES[channels])
    if size is not None:
        image = _to_size(image, size, resize)
    pixels = np.array(image)
    if bit_depth == 16:
        pixels = pixels.round().clip(0, 65535).astype(np.uint16)  # the filter overshoots black and white
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode pixels as a PNG file of the same bit depth.

    Args:
        pixels: uint8 `(H, W, C)` with C = 1, 3 or 4, or uint16 `(H, W, 1)`.

    Raises:
        ValueError: If `pixels` has another type, or is uint16 and not grey.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"`pixels` must be uint8 or uint16, got {pixels.dtype}; scale them to the whole range first")
    if pixels.dtype == np.uint16 and pixels.shape[2] != 1:
        raise ValueError(f"`pixels` must be (H, W, 1) where they are uint16, got {pixels.shape}; use `to_8_bits`")
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels as a PNG file, see `encode_png`."""
    path.write_bytes(encode_png(pixels))


@contextmanager
def _reported() -> Iterator[None]:
    """Turn whatever PIL raises over a broken file into a `DataError`."""
    try:
        yield
    except _BROKEN as error:
        text = str(error)
        if "cannot identify image file" in text:
            text = "the format is unknown, or a variant of TIFF that is not read; convert it to PNG"
        raise DataError(f"not a readable image: {text}") from error


def _open(data: bytes) -> Image.Image:
    """Open an image file without decoding its pixels, unless it claims too many."""
    _check_size(*_webp_canvas(data))
    image = Image.open(io.BytesIO(without_long_texts(data)), formats=_FORMATS)
    _check_size(*image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_size(*(_tag(image, tag, 1) for tag in _TILE_TAGS))
    return image


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Return the width and height that a WebP file claims: its decoder allocates them as soon as it is opened."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return 0, 0
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        sides = int.from_bytes(data[21:25], "little")
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_DECODED_PIXELS:
        raise ValueError(
            f"it claims {width}x{height} pixels, which could be a decompression bomb; "
            f"at most {MAX_DECODED_PIXELS} are decoded, make it smaller first"
        )


def _largest(values: object) -> int:
    """Return a TIFF tag's number; a damaged tag may hold several, or none that is a number."""
    numbers = values if isinstance(values, tuple) else (values,)
    return max((int(number) for number in numbers if isinstance(number, int)), default=1)


def _orientation(image: Image.Image) -> int:
    """Read EXIF orientation, 2 to 8, or 1 (upright) where there is none or it is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (*_BROKEN, struct.error):
        return 1
    return orientation if orientation in _TURNS else 1


def _is_16_bit(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"  # "I;16", its byte orders, and 32 bits of either kind


def _values_of_16_bits(image: Image.Image) -> np.ndarray:
    """Scale values to 0..65535, from 0..1 if they are floats; refuse others, which a viewer would have to guess."""
    values = np.asarray(image)
    most = 1 if image.mode == "F" else 65535
    if not (values.min() >= 0 and values.max() <= most):  # nor for NaN
        kind, wanted = ("floats", "0..1") if image.mode == "F" else ("integers", "0..65535")
        raise ValueError(
            f"its {kind} reach from {values.min():g} to {values.max():g}, and must be in {wanted}; scale them first"
        )
    scaled = (values * np.float32(65535)).round() if image.mode == "F" else values
    pixels = scaled.astype(np.uint16)
    return 65535 - pixels if _tag(image, _PHOTOMETRIC_TAG, 1) == 0 else pixels


def _require_unsigned(image: Image.Image) -> None:
    """Refuse signed values of 8 bits, which PIL reads as if they were not."""
    if image.mode == "L" and _tag(image, _SAMPLE_FORMAT_TAG, 1) == 2 and np.asarray(image).max(initial=0) > 127:
        raise ValueError("some of its signed values of 8 bits are negative; scale them to 0..255 first")


def _tag(image: Image.Image, tag: int, default: int) -> int:
    """Return a number that a TIFF tells of itself."""
    return _largest(image.tag_v2.get(tag, default)) if isinstance(image, TiffImagePlugin.TiffImageFile) else default


def _to_16_bits(image: Image.Image) -> Image.Image:
    """Turn an image into grey in 0..65535, as floats, since PIL cannot resize 16-bit integers."""
    if image.mode == "I;16":
        return Image.fromarray(np.asarray(image).astype(np.float32))
    return Image.fromarray(np.asarray(_to_mode(image, "L"), dtype=np.float32) * 257.0)


def _to_srgb(image: Image.Image, size: tuple[int, int] | None, resize: Resize) -> Image.Image:
    """Turn the colours of an image with a profile into sRGB; it may be resized by that."""
    if "transparency" in image.info:  # which a conversion of colours would lose
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    transform = srgb_transform(image)
    if transform is None:
        return image
    if image.mode == "RGB" and size is not None:  # first, since large images become small
        image = _to_size(image, size, resize)
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None, "it is only None in place"
    return converted


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "I;16":  # PIL would clip to 255 where it has to be scaled
        image = Image.fromarray(to_8_bits(np.asarray(image)))
    if mode == "RGBA":
        return image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        foreground = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(foreground)
        image = image.convert("RGB")
    return image.convert(mode)


def _to_size(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    if resize == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    if resize == "pad":
        if image.width * height >= image.height * width:  # relatively wider: the width decides
            inner_height, inner_width = max(1, round(image.height * width / image.width)), width
        else:
            inner_height, inner_width = height, max(1, round(image.width * height / image.height))
        canvas = Image.new(image.mode, (width, height), _BORDERS.get(image.mode, "white"))
        inner = image.resize((inner_width, inner_height), Image.Resampling.LANCZOS)
        canvas.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
        return canvas
    return image.resize((width, height), Image.Resampling.LANCZOS)
