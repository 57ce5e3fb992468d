"""Draw the hidden codes of images whose other codes are known: completion and variation.

Shapes: B images, V variants of each, H W pixels, h x w code grid of one level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from vqvae2.codes import Codes
from vqvae2.config import VQVAE2Config
from vqvae2.errors import ConfigError
from vqvae2.images import pad_to_multiple
from vqvae2.models.prior import Prior
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.sampling.sample import draw_levels

__all__ = ["complete_codes", "fill_hidden", "hidden_codes", "hide_pixels", "mask_below"]


def complete_codes(
    priors: Sequence[Prior],
    codes: Codes,
    hidden: Sequence[Tensor],
    request: DrawRequest = DrawRequest(),
    *,
    hooks: Hooks = Hooks(),
) -> Codes:
    """Draw the hidden codes of images, the top first, several ways each, and keep the known codes.

    A hidden code is drawn given all levels above and the codes of its own level in earlier fronts (see `walk`), known
    or drawn. Known codes in later fronts do not influence it. Its random numbers do not depend on what is hidden.

    Args:
        priors: One per level, top first, in evaluation mode, on one device.
        codes: All levels of B images; hidden codes may be anything.
        hidden: Which codes to draw, bool `(B, h, w)` for each level. A level that is all known takes no walk.
        request: What to draw: `num_variants` V of each image. See `sample_codes` for labels.
        hooks: Called after each front of codes.

    Returns:
        The codes of all levels of B x V images, all variants of an image together.

    Raises:
        ConfigError: If the request does not fit the priors.
        ValueError: If shapes do not fit each other, or a map of `hidden` is not bool.
    """
    if not len(priors) == len(codes) == len(hidden):
        raise ValueError(
            f"`codes` and `hidden` must hold one map for each of {len(priors)} priors, "
            f"got {len(codes)} and {len(hidden)}"
        )
    for level, (maps, mask) in enumerate(zip(codes, hidden, strict=True)):
        if mask.dtype != torch.bool or mask.shape != maps.shape:
            raise ValueError(
                f"`hidden[{level}]` must be bool of shape {tuple(maps.shape)}, as the level's codes, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
    variants = request.num_variants
    if isinstance(request.label, Tensor):
        request = replace(request, label=request.label.repeat_interleave(variants))
    known = [torch.where(mask.to(maps.device), -1, maps) for maps, mask in zip(codes, hidden, strict=True)]
    # Cantor's pairing: each image and variant has a number of its own, whatever the number of images or variants.
    images = range(request.first_image, request.first_image + codes.batch_size)
    numbers = [(k + v) * (k + v + 1) // 2 + v for k in images for v in range(variants)]
    return draw_levels(
        priors,
        codes.shapes,
        numbers,
        request,
        known=[maps.repeat_interleave(variants, dim=0) for maps in known],
        hooks=hooks,
    )


def mask_below(size: tuple[int, int], known_rows: float) -> Tensor:
    """Make the mask of images whose upper part is known: bool `(H, W)`, True below, where to draw.

    Args:
        size: Height and width in pixels.
        known_rows: Below 1 the known share of the height, from 1 on a number of pixel rows; 0 hides everything.

    Raises:
        ConfigError: If nothing would be hidden, or the number of rows is not whole.
    """
    height, width = size
    rows = min(round(known_rows * height), height - 1) if 0 <= known_rows < 1 else known_rows
    if not 0 <= rows < height or rows != int(rows):
        raise ConfigError(
            f"`known_rows` must be a share of the height below 1 or a whole number of pixel rows below {height}, "
            f"got {known_rows:g}"
        )
    return (torch.arange(height) >= rows)[:, None].repeat(1, width)


def hide_pixels(images: Tensor, mask: Tensor) -> Tensor:
    """Paint the masked pixels of images `(B, C, H, W)` grey, 0, to show what is given; see `fill_hidden` for `mask`."""
    return images.masked_fill(mask.unsqueeze(-3), 0.0)


def fill_hidden(images: Tensor, mask: Tensor) -> Tensor:
    """Spread known pixels over the masked ones, so that an encoder sees no edge where the mask begins.

    The codes of known pixels then stay close to those of the whole image. Plain grey would change most codes near the
    mask, and the priors would follow them.

    Args:
        images: `(B, C, H, W)`.
        mask: bool `(B, H, W)`, or `(H, W)` for all images.

    Returns:
        `(B, C, H, W)`, which do not depend on masked pixels; an image that is all masked is grey, 0.
    """
    filled = hide_pixels(images, mask)
    known = (~mask).to(images.dtype).expand(len(images), *images.shape[-2:]).unsqueeze(1)
    while True:  # one ring of pixels at a time, each the mean of its known neighbours
        weight = functional.avg_pool2d(known, 3, stride=1, padding=1)
        ring = (known == 0) & (weight > 0)
        if not ring.any():
            return filled
        mean = functional.avg_pool2d(filled, 3, stride=1, padding=1) / weight.clamp(min=1 / 9)
        filled, known = torch.where(ring, mean, filled), torch.where(ring, 1.0, known)


def hidden_codes(mask: Tensor, config: VQVAE2Config, *, margin: int = 0) -> tuple[Tensor, ...]:
    """Find the codes that a mask of pixels hides: those with a masked pixel in their cell, and `margin` around them.

    Args:
        mask: bool `(B, H, W)`, True where to draw.
        config: Of the tokenizer.
        margin: Further codes on each side, on each level. An encoder looks beyond a code's own cell, so codes beside
            the mask differ a little from those of the whole image, but they tell more than they mislead.

    Returns:
        bool `(B, h, w)` for each level, top first.

    Raises:
        ConfigError: If `margin` is below 0.
        ValueError: If `mask` is not bool of rank 3.
    """
    if mask.dtype != torch.bool or mask.ndim != 3:
        raise ValueError(f"`mask` must be bool of shape (B, H, W), got {mask.dtype} of shape {tuple(mask.shape)}")
    if margin < 0:
        raise ConfigError(f"`margin` must be at least 0, got {margin}")
    padded = pad_to_multiple(mask[:, None].float(), config.stride)  # as images are padded before they are encoded
    cells = (functional.max_pool2d(padded, reduction) for reduction in config.reductions)
    grown = (functional.max_pool2d(cell, 2 * margin + 1, stride=1, padding=margin) for cell in cells)
    return tuple(level[:, 0] > 0 for level in grown)
