"""Images at the edges: value ranges, colour modes, resizing, padding. The only place that knows PIL.

Inside, an image batch is float32 `(B, C, H, W)` in [-1, 1]; at the edges it is uint8 `(B, H, W, C)`.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from vqvae2.errors import DataError

__all__ = [
    "Resize",
    "crop_to",
    "decode_image",
    "encode_png",
    "from_uint8",
    "image_grid",
    "image_info",
    "pad_to_multiple",
    "save_png",
    "to_uint8",
]

Resize = Literal["crop", "pad", "stretch"]
"""How an image gets to a shape: cover it and cut evenly, fit inside with a border, or change its aspect ratio."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)
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


def from_uint8(pixels: Tensor) -> Tensor:
    """Turn uint8 `(B, H, W, C)` in 0..255 into float32 `(B, C, H, W)` in [-1, 1], laid out channels last."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Turn float `(B, C, H, W)` into uint8 `(B, H, W, C)`, clamping to [-1, 1] and rounding to nearest."""
    scaled = images.float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


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


def image_info(data: bytes) -> tuple[int, int, bool]:
    """Read height and width in pixels (as shown, after EXIF orientation) and whether the image is grey.

    Raises:
        DataError: If the bytes are not an image that PIL can open.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            lies_on_side = _orientation(image) >= 5
            height, width = (image.width, image.height) if lies_on_side else (image.height, image.width)
            return height, width, image.mode in ("1", "L", "LA") or image.mode.startswith("I")
    except _BROKEN as error:
        raise DataError(f"not a readable image: {_reason(error)}") from error


def decode_image(
    data: bytes, *, channels: int, size: tuple[int, int] | None = None, resize: Resize = "crop"
) -> np.ndarray:
    """Decode one image file into pixels.

    The first frame is taken of an animation, EXIF orientation is applied, 16-bit grey is scaled to 8 bits,
    and transparency is laid over white unless `channels` is 4. Resizing uses a Lanczos filter.

    Args:
        data: The bytes of the file.
        channels: 1 for grey, 3 for RGB, 4 for RGBA.
        size: Wanted height and width in pixels; None keeps the image's own size.
        resize: How the image gets to that shape, see `Resize`.

    Returns:
        uint8 array `(H, W, channels)`.

    Raises:
        DataError: If the bytes are not an image that PIL can decode completely.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            turn = _TURNS.get(_orientation(opened))
            image = _to_mode(opened if turn is None else opened.transpose(turn), _MODES[channels])
    except _BROKEN as error:
        raise DataError(f"not a readable image: {_reason(error)}") from error
    if size is not None:
        image = _to_size(image, size, resize)
    pixels = np.array(image, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 `(H, W, C)` with C = 1, 3 or 4 as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Write uint8 `(H, W, C)` as a PNG file."""
    path.write_bytes(encode_png(pixels))


def image_grid(pixels: np.ndarray, *, columns: int, gap_pixels: int = 2) -> np.ndarray:
    """Lay uint8 images `(N, H, W, C)` out row by row on white, as one image `(H', W', C)`."""
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    shape = (rows * (height + gap_pixels) + gap_pixels, columns * (width + gap_pixels) + gap_pixels, channels)
    canvas = np.full(shape, 255, dtype=np.uint8)
    for index in range(count):
        top = gap_pixels + index // columns * (height + gap_pixels)
        left = gap_pixels + index % columns * (width + gap_pixels)
        canvas[top : top + height, left : left + width] = pixels[index]
    return canvas


def _orientation(image: Image.Image) -> int:
    """Read EXIF orientation, 1 to 8; 1, upright, where there is none or it is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (*_BROKEN, struct.error):
        return 1
    return orientation if orientation in _TURNS else 1


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # PIL would clip 16-bit grey to 255 where it has to be scaled
        image = Image.fromarray((np.asarray(image, dtype=np.int64).clip(0, 65535) // 257).astype(np.uint8))
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
        canvas = Image.new(image.mode, (width, height), (255, 255, 255, 0) if image.mode == "RGBA" else "white")
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
