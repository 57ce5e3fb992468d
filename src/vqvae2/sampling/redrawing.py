"""A pipeline's parts drawing some of the codes of given images anew, several ways each.

Shapes: B images, V variants of each, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqvae2.codes import Codes
from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.models.prior import Prior
from vqvae2.sampling.completion import DrawnRows, complete_codes

__all__ = ["fit_mask", "redraw_codes", "require_size"]


def redraw_codes(
    priors: Sequence[Prior],
    codes: Codes,
    hidden: Sequence[Tensor],
    *,
    num_variants: int,
    seed: int,
    first_image: int,
    label: int | None,
    config: SamplingConfig | None,
    on_progress: Callable[[int, int], None] | None,
    on_row: Callable[[DrawnRows], None] | None,
) -> Codes:
    """Draw hidden codes `num_variants` ways each.

    Args:
        priors: One a level, top first.
        codes: Of B images.
        hidden: bool, of the shape of each level's codes; True where to draw.
        num_variants: V.
        seed: The random numbers of variant v of image k come from `seed`, k and v alone.
        first_image: k of the first image.
        label: Class of all images; None tells the priors no class.
        config: Temperature, top-k, top-p and guidance.
        on_progress: Called with the number of codes visited so far, of all variants together, and their total.
        on_row: Called after each row of codes with what there is; see `complete_codes`.

    Returns:
        The codes of B x V images, all variants of an image together.

    Raises:
        ConfigError: If `num_variants`, `first_image` or the config does not fit.
    """
    if num_variants < 1:
        raise ConfigError(f"`num_variants` must be above 0, got {num_variants}")
    if first_image < 0:
        raise ConfigError(f"`first_image` must be at least 0, got {first_image}")
    pairs = [(image, variant) for image in range(codes.batch_size) for variant in range(num_variants)]
    numbers = [_pair_number(first_image + image, variant) for image, variant in pairs]
    return complete_codes(
        priors,
        Codes(tuple(level.repeat_interleave(num_variants, dim=0) for level in codes)),
        [level.repeat_interleave(num_variants, dim=0) for level in hidden],
        images=numbers,
        seed=seed,
        labels=None if label is None else torch.full((len(numbers),), label),
        config=config,
        on_progress=on_progress,
        on_row=on_row,
    )


def require_size(images: Tensor, size: tuple[int, int]) -> None:
    """Refuse what is no batch of images of this height and width.

    Raises:
        ValueError: If `images` is not of shape `(B, C, *size)`.
    """
    if images.ndim != 4 or tuple(images.shape[-2:]) != size:
        raise ValueError(
            f"`images` must be of shape (B, C, {size[0]}, {size[1]}), the pipeline's image size, "
            f"got {tuple(images.shape)}"
        )


def fit_mask(mask: Tensor, images: Tensor) -> Tensor:
    """Give the mask for each of `images` `(B, C, H, W)`: bool `(B, H, W)`, on their device.

    Raises:
        ValueError: If it is not bool, and of that shape or `(H, W)`.
    """
    wanted = (len(images), *images.shape[-2:])
    if mask.dtype != torch.bool or tuple(mask.shape) not in (wanted, wanted[1:]):
        raise ValueError(
            f"`mask` must be bool of shape {wanted} or {wanted[1:]}, got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    return mask.to(images.device).expand(wanted)


def _pair_number(image: int, variant: int) -> int:
    """Number pairs, each with a number of its own (Cantor's way), whatever the number of images or variants."""
    return (image + variant) * (image + variant + 1) // 2 + variant
