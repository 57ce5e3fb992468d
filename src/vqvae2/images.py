"""Images at the edges: value ranges, colour modes, resizing, padding. The only place that opens foreign images by PIL.

Inside, an image batch is float32 `(B, C, H, W)` in [-1, 1]; at the edges it is uint8 `(B, H, W, C)`, or uint16 for
grey images of 16 bits. Either way the type's whole range is in use: black is 0 and white the type's maximum.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin
from torch import Tensor

from vqvae2.config import MAX_PIXELS, Resize
from vqvae2.errors import DataError

__all__ = [
    "PIXEL_TYPES",
    "ImageInfo",
    "crop_to",
    "cut_grid",
    "decode_image",
    "encode_png",
    "from_pixels",
    "image_grid",
    "image_info",
    "pad_to_multiple",
    "require_channels",
    "save_png",
    "to_8_bits",
    "to_pixels",
    "to_rgb",
]

PIXEL_TYPES: dict[int, type[np.unsignedinteger]] = {8: np.uint8, 16: np.uint16}
"""The type of pixels of each bit depth."""

# Those that are promised. PIL knows many more, and one (EPS) starts a program.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_HALF_RANGES = {torch.uint8: 127.5, torch.uint16: 32767.5}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_BORDERS: dict[str, tuple[int, ...] | float] = {"RGBA": (255, 255, 255, 0), "F": 65535.0}  # white everywhere else
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)
_TILE_TAGS = (322, 323)  # width and height of a TIFF's tiles, each of which is decoded whole
# `ImageOps.exif_transpose` also writes the other EXIF fields anew, and fails over damaged ones.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageInfo(NamedTuple):
    """What can be said of an image file without decoding it."""

    height: int
    """In pixels, as shown, after EXIF orientation."""
    width: int
    is_grey: bool
    bit_depth: int
    """16 for grey images of 16 bits, else 8; of colours, PIL reads 8 bits only."""


def from_pixels(pixels: Tensor) -> Tensor:
    """Turn pixels into what networks take, on their device.

    Args:
        pixels: uint8 `(B, H, W, C)` in 0..255, or uint16 in 0..65535.

    Returns:
        float32 `(B, C, H, W)` in [-1, 1], laid out channels last; `to_pixels` gives back every pixel exactly.

    Raises:
        ValueError: If `pixels` is of another type.
    """
    if pixels.dtype not in _HALF_RANGES:
        raise ValueError(f"`pixels` must be uint8 or uint16, got {pixels.dtype}")
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(_HALF_RANGES[pixels.dtype]).sub_(1.0)


def to_pixels(images: Tensor, *, bit_depth: int = 8) -> Tensor:
    """Turn images into pixels, on their device, clamping to [-1, 1] and rounding to nearest.

    Args:
        images: float `(B, C, H, W)`.
        bit_depth: 8 or 16.

    Returns:
        `(B, H, W, C)`, uint8 in 0..255 or uint16 in 0..65535.
    """
    dtype = torch.uint16 if bit_depth == 16 else torch.uint8
    scaled = images.float().clamp(-1.0, 1.0).add(1.0).mul(_HALF_RANGES[dtype]).round()
    return scaled.permute(0, 2, 3, 1).contiguous().to(dtype)  # laid out first: few operations know uint16


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Round uint16 pixels of any shape to the nearest of 8 bits; uint8 ones are returned as they are."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def require_channels(images: Tensor, channels: int) -> None:
    """Refuse what is no batch of images of so many channels.

    Raises:
        ValueError: If `images` is not of shape `(B, channels, H, W)`.
    """
    if images.ndim != 4 or images.shape[1] != channels:
        raise ValueError(f"`images` must be of shape (B, {channels}, H, W), got {tuple(images.shape)}")


def to_rgb(images: Tensor) -> Tensor:
    """Repeat grey in three channels, and lay transparency over white.

    Args:
        images: float `(B, C, H, W)` in [-1, 1], with C = 1, 3 or 4.

    Returns:
        `(B, 3, H, W)`.

    Raises:
        ValueError: If `images` has another shape.
    """
    if images.ndim != 4 or images.shape[1] not in _MODES:
        raise ValueError(f"`images` must be of shape (B, C, H, W) with 1, 3 or 4 channels, got {tuple(images.shape)}")
    if images.shape[1] == 4:
        opacity = (images[:, 3:] + 1.0) / 2.0
        return 1.0 + (images[:, :3] - 1.0) * opacity  # white is 1
    return images.expand(-1, 3, -1, -1)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the right and lower edge of `(B, C, H, W)` until both sides are multiples of `multiple` pixels."""
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not down and not right:
        return images
    return torch.nn.functional.pad(images, (0, right, 0, down), mode="replicate")


def crop_to(images: Tensor, height: int, width: int) -> Tensor:
    """Undo `pad_to_multiple`: keep the upper left `height` x `width` pixels of `(B, C, H, W)`."""
    return images[..., :height, :width]


def image_info(data: bytes) -> ImageInfo:
    """Read size, colour and bit depth from the head of an image file.

    Raises:
        DataError: If the bytes are not an image that PIL can open.
    """
    try:
        with _open(data) as image:
            lies_on_side = _orientation(image) >= 5
            height, width = (image.width, image.height) if lies_on_side else (image.height, image.width)
            is_16_bit = _is_16_bit(image)
            return ImageInfo(height, width, is_16_bit or image.mode in ("1", "L", "LA"), 16 if is_16_bit else 8)
    except _BROKEN as error:
        raise DataError(f"not a readable image: {_reason(error)}") from error


def decode_image(
    data: bytes,
    *,
    channels: int,
    size: tuple[int, int] | None = None,
    resize: Resize = "crop",
    bit_depth: int = 8,
) -> np.ndarray:
    """Decode one image file into pixels.

    The first frame is taken of an animation, EXIF orientation is applied, and transparency is laid over white unless
    `channels` is 4. Between 8 and 16 bits, values are scaled so that black and white stay what they are. Resizing
    uses a Lanczos filter, at the wanted bit depth.

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
        DataError: If the bytes are not an image that PIL can decode completely.
    """
    if bit_depth == 16 and channels != 1:
        raise ValueError(f"`channels` must be 1 where `bit_depth` is 16, got {channels}; read 8 bits instead")
    try:
        with _open(data) as opened:
            opened.load()
            turn = _TURNS.get(_orientation(opened))
            turned = opened if turn is None else opened.transpose(turn)
            image = _to_16_bits(turned) if bit_depth == 16 else _to_mode(turned, _MODES[channels])
    except _BROKEN as error:
        raise DataError(f"not a readable image: {_reason(error)}") from error
    if size is not None:
        image = _to_size(image, size, resize)
    pixels = np.array(image)
    if bit_depth == 16:
        pixels = pixels.round().clip(0, 65535).astype(np.uint16)  # the filter swings beyond black and white
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode pixels as the bytes of a PNG file of the same bit depth.

    Args:
        pixels: uint8 `(H, W, C)` with C = 1, 3 or 4, or uint16 `(H, W, 1)`.

    Raises:
        ValueError: If `pixels` is uint16 and not grey.
    """
    if pixels.dtype == np.uint16 and pixels.shape[2] != 1:
        raise ValueError(f"`pixels` must be (H, W, 1) where they are uint16, got {pixels.shape}; use `to_8_bits`")
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels as a PNG file, see `encode_png`."""
    path.write_bytes(encode_png(pixels))


def image_grid(pixels: np.ndarray, *, columns: int, gap_pixels: int = 2) -> np.ndarray:
    """Lay images `(N, H, W, C)` of unsigned integers out row by row on white, as one image `(H', W', C)`."""
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    shape = (rows * (height + gap_pixels) + gap_pixels, columns * (width + gap_pixels) + gap_pixels, channels)
    canvas = np.full(shape, np.iinfo(pixels.dtype).max, dtype=pixels.dtype)
    for index in range(count):
        top = gap_pixels + index // columns * (height + gap_pixels)
        left = gap_pixels + index % columns * (width + gap_pixels)
        canvas[top : top + height, left : left + width] = pixels[index]
    return canvas


def cut_grid(picture: np.ndarray, size: tuple[int, int], *, gap_pixels: int = 2) -> np.ndarray:
    """Undo `image_grid`; places that stayed empty come out white.

    Args:
        picture: `(H', W', C)`.
        size: Height and width in pixels of the images.
        gap_pixels: As it was laid out.

    Returns:
        Images `(rows, columns, H, W, C)`.

    Raises:
        DataError: If the picture is no grid of images of that size.
    """
    pitches = [side + gap_pixels for side in size]
    inner = picture[gap_pixels:, gap_pixels:]
    (rows, rest_height), (columns, rest_width) = (
        divmod(length, pitch) for length, pitch in zip(inner.shape[:2], pitches, strict=True)
    )
    if rest_height or rest_width or not rows or not columns:
        raise DataError(
            f"`picture` must be a grid of images of {size[0]}x{size[1]} pixels with gaps of {gap_pixels}, "
            f"got one of {picture.shape[0]}x{picture.shape[1]}; give the size that it was made of"
        )
    cells = inner.reshape(rows, pitches[0], columns, pitches[1], -1).swapaxes(1, 2)
    return cells[:, :, : size[0], : size[1]]


def _open(data: bytes) -> Image.Image:
    """Open an image file, whose pixels are not decoded yet, unless it claims to have too many."""
    _check_size(*_webp_canvas(data))
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    _check_size(*image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_size(*(_largest(image.tag_v2.get(tag, 1)) for tag in _TILE_TAGS))
    return image


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Give the width and height that a WebP file claims: its decoder takes memory for them as soon as it is opened."""
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
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"it claims {width}x{height} pixels, which could be a decompression bomb; "
            f"at most {MAX_PIXELS} are decoded, make it smaller first"
        )


def _largest(values: object) -> int:
    """Give a TIFF tag's number; a damaged one may have several, or none that is a number."""
    numbers = values if isinstance(values, tuple) else (values,)
    return max((int(number) for number in numbers if isinstance(number, int)), default=1)


def _orientation(image: Image.Image) -> int:
    """Read EXIF orientation, 1 to 8; 1, upright, where there is none or it is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (*_BROKEN, struct.error):
        return 1
    return orientation if orientation in _TURNS else 1


def _is_16_bit(image: Image.Image) -> bool:
    return image.mode.startswith("I")  # "I;16", its byte orders, and "I", in which some formats are opened


def _values_of_16_bits(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int64).clip(0, 65535).astype(np.uint16)


def _to_16_bits(image: Image.Image) -> Image.Image:
    """Turn an image into grey in 0..65535, as floats, since PIL resizes no 16-bit integers."""
    if _is_16_bit(image):
        return Image.fromarray(_values_of_16_bits(image).astype(np.float32))
    return Image.fromarray(np.asarray(_to_mode(image, "L"), dtype=np.float32) * 257.0)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if _is_16_bit(image):  # PIL would clip to 255 where it has to be scaled
        image = Image.fromarray(to_8_bits(_values_of_16_bits(image)))
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
        inner_height, inner_width = _fit_inside(image.height, image.width, size)
        canvas = Image.new(image.mode, (width, height), _BORDERS.get(image.mode, "white"))
        inner = image.resize((inner_width, inner_height), Image.Resampling.LANCZOS)
        canvas.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
        return canvas
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _fit_inside(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Give the sides of an image of `height` x `width` pixels, scaled until it just fits inside `size`."""
    most_height, most_width = size
    if width * most_height >= height * most_width:  # relatively wider: the width decides
        return max(1, round(height * most_width / width)), most_width
    return most_height, max(1, round(width * most_height / height))


def _reason(error: Exception) -> str:
    text = str(error)
    return "the format is unknown" if "cannot identify image file" in text else text
