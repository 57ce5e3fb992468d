"""Batches of images as tensors: value ranges, channels, padding.

Inside, a batch is float32 `(B, C, H, W)` in [-1, 1]. At the edges it is uint8 `(B, H, W, C)`, or uint16 for grey images
of 16 bits, and uses the type's whole range: black is 0 and white the type's maximum.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "PIXEL_TYPES",
    "check_images",
    "crop_to",
    "from_pixels",
    "pad_to_multiple",
    "require_channels",
    "resize_to_square",
    "shift",
    "to_8_bits",
    "to_pixels",
    "to_rgb",
]

PIXEL_TYPES: dict[int, type[np.unsignedinteger]] = {8: np.uint8, 16: np.uint16}
"""The type of pixels of each bit depth."""

_LARGEST_VALUE = 1.75  # decoded images reach a little beyond 1; values in 0..255 reach far
_HALF_RANGES = {torch.uint8: 127.5, torch.uint16: 32767.5}


def check_images(images: Tensor, name: str, *, channels: int, rank: int = 4) -> None:
    """Refuse what are no images `(B, C, H, W)` of so many channels, or with rank 3 no image `(C, H, W)`.

    Raises:
        ValueError: If they are of another shape or type, or hold values that are far from [-1, 1] or no numbers.
    """
    if images.ndim != rank or images.shape[-3] != channels or not images.numel() or not images.is_floating_point():
        shape = f"({'B, ' * (rank - 3)}{channels}, H, W)"
        raise ValueError(
            f"`{name}` must be float32 of shape {shape}, got {images.dtype} of shape {tuple(images.shape)}"
        )
    largest = images.abs().max()
    if not largest <= _LARGEST_VALUE:  # written so, it also catches NaN
        raise ValueError(
            f"`{name}` must be in [-1, 1], got values up to {largest:.4g}; make them from pixels with "
            "`vqvae2.from_pixels`"
        )


def from_pixels(pixels: Tensor) -> Tensor:
    """Turn pixels into images, on their device; `to_pixels` restores every pixel exactly.

    Args:
        pixels: uint8 `(B, H, W, C)` in 0..255, or uint16 in 0..65535.

    Returns:
        float32 `(B, C, H, W)` in [-1, 1], laid out channels last.

    Raises:
        ValueError: If `pixels` has another type.
    """
    if pixels.dtype not in _HALF_RANGES:
        raise ValueError(f"`pixels` must be uint8 or uint16, got {pixels.dtype}")
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(_HALF_RANGES[pixels.dtype]).sub_(1.0)


def to_pixels(images: Tensor, *, bit_depth: int = 8) -> Tensor:
    """Turn images, float `(B, C, H, W)`, into pixels `(B, H, W, C)`, on their device.

    Values are clamped to [-1, 1] and rounded to the nearest of 0..255 (uint8) or, of 16 bits, 0..65535 (uint16).
    """
    dtype = torch.uint16 if bit_depth == 16 else torch.uint8
    scaled = images.float().clamp(-1.0, 1.0).add(1.0).mul(_HALF_RANGES[dtype]).round()
    return scaled.permute(0, 2, 3, 1).contiguous().to(dtype)  # layout first: few operations support uint16


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Round uint16 pixels of any shape to the nearest of 8 bits; return uint8 pixels as they are."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def require_channels(images: Tensor, channels: int) -> None:
    """Raise `ValueError` unless `images` has the shape `(B, channels, H, W)`."""
    if images.ndim != 4 or images.shape[1] != channels:
        raise ValueError(f"`images` must be of shape (B, {channels}, H, W), got {tuple(images.shape)}")


def to_rgb(images: Tensor) -> Tensor:
    """Turn images `(B, C, H, W)` in [-1, 1] into `(B, 3, H, W)`: repeat grey, and lay transparency over white.

    Raises:
        ValueError: If C is not 1, 3 or 4.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
        raise ValueError(f"`images` must be of shape (B, C, H, W) with 1, 3 or 4 channels, got {tuple(images.shape)}")
    if images.shape[1] == 4:
        opacity = (images[:, 3:] + 1.0) / 2.0
        return 1.0 + (images[:, :3] - 1.0) * opacity  # white is 1
    return images.expand(-1, 3, -1, -1)


def resize_to_square(images: Tensor, side: int) -> Tensor:
    """Resize `(B, C, H, W)` in [-1, 1] to `side` x `side` by a bicubic filter with antialiasing; clamp to [-1, 1].

    Images of that size are returned as they are.
    """
    if images.shape[-2:] == (side, side):
        return images
    return torch.nn.functional.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(-1.0, 1.0)


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


def shift(images: Tensor, fraction: float, chances: Tensor) -> Tensor:
    """Move each image `(B, C, H, W)` by up to a fraction of its height and width, and repeat its border.

    Offsets are whole pixels in both directions, each equally likely: `chances` `(B, 2)`, uniform in [0, 1), decide how
    far down and how far to the right. Gradients pass.
    """
    positions = []  # of the pixel that comes to each place, int64 `(B, H)` and `(B, W)`
    for length, chance in zip(images.shape[-2:], chances.unbind(1), strict=True):
        most = round(fraction * length)
        offsets = (chance * (2 * most + 1)).floor().long() - most
        positions.append((torch.arange(length, device=images.device) + offsets[:, None]).clamp_(0, length - 1))
    rows, columns = positions
    moved = images.gather(2, rows[:, None, :, None].expand_as(images))
    return moved.gather(3, columns[:, None, None, :].expand_as(images))
