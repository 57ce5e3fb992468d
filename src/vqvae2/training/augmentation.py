"""Random changes of training images, decided by the numbers in [0, 1) that come with each item, see `Task.load`.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mirror", "shift"]


def mirror(images: Tensor, is_mirrored: Tensor) -> Tensor:
    """Mirror images `(B, C, H, W)` left to right where `is_mirrored`, bool `(B,)`, is set."""
    return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def shift(images: Tensor, fraction: float, chances: Tensor) -> Tensor:
    """Move each image `(B, C, H, W)` by up to a fraction of its height and width, and repeat its border.

    Offsets are whole pixels in both directions, each equally likely.

    Args:
        images: On any device.
        fraction: Of height and width, 0..1.
        chances: `(B, 2)`, uniform in [0, 1), on the same device: how far down, and how far to the right.
    """
    height, width = images.shape[-2:]
    rows = _moved_positions(height, fraction, chances[:, 0])
    columns = _moved_positions(width, fraction, chances[:, 1])
    numbers = torch.arange(len(images), device=images.device)[:, None, None]
    # Channels are last in memory, so one index picks a whole pixel.
    return images.permute(0, 2, 3, 1)[numbers, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _moved_positions(length: int, fraction: float, chances: Tensor) -> Tensor:
    """Return from which of the `length` pixels along a side each image's new pixels come: int64 `(B, length)`."""
    most = round(fraction * length)
    offsets = (chances * (2 * most + 1)).floor().long() - most
    return (torch.arange(length, device=chances.device) + offsets[:, None]).clamp_(0, length - 1)
