"""Draw a part of an image anew, or exchange what two images keep at the top.

Shapes: V variants, C channels, H x W pixels, h x w code grid of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vqvae2.codes import Codes
from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.images import crop_to
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.completion import hidden_codes, mask_below
from vqvae2.sampling.hooks import DrawnRows
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.context import StudioContext
from vqvae2.studio.walk_view import WalkReport, WalkStep, view_rows

__all__ = [
    "MOST_VARIANTS",
    "Part",
    "RedrawRequest",
    "SwappedTops",
    "painted_mask",
    "redraw",
    "swap_tops",
    "view_redrawn",
]

MOST_VARIANTS = 16
Part = Literal["painted", "lower half", "right half", "all but the top level"]
"""Of an image that is drawn anew."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RedrawRequest:
    """What is to be drawn.

    Raises:
        ConfigError: If nothing is painted, or a number is out of its range.
    """

    image: Tensor
    """`(C, H, W)` in [-1, 1], of the pipeline's size."""
    part: Part
    painted: Tensor
    """bool `(H, W)`; only looked at where `part` says so."""
    num_variants: int = 4
    seed: int = 0
    class_name: str | None = None
    """None tells the priors no class."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        if self.part == "painted" and not self.painted.any():
            raise ConfigError("nothing is painted yet; paint over what is to be drawn anew, or choose another part")
        if not 1 <= self.num_variants <= MOST_VARIANTS:
            raise ConfigError(f"`num_variants` must be in 1..{MOST_VARIANTS}, got {self.num_variants}")
        if self.seed < 0:
            raise ConfigError(f"`seed` must be at least 0, got {self.seed}")

    @property
    def mask(self) -> Tensor | None:
        """The pixels that are drawn, bool `(H, W)`; None where whole levels are."""
        height, width = self.image.shape[-2:]
        if self.part == "painted":
            return self.painted
        if self.part == "lower half":
            return mask_below((height, width), 0.5)
        if self.part == "right half":
            return mask_below((width, height), 0.5).T
        return None


def painted_mask(layers: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor:
    """Give the pixels that are painted over, at least by half: bool `(H, W)`.

    Args:
        layers: Of a painting on the enlarged image, uint8 RGBA, each of any size; paint is what is not transparent.
        size: H and W.
    """
    mask = torch.zeros(size, dtype=torch.bool)
    for layer in layers:
        is_paint = torch.from_numpy(layer[..., 3] > 127).float()
        mask |= functional.adaptive_avg_pool2d(is_paint[None], size)[0] >= 0.5
    return mask


def redraw(context: StudioContext, request: RedrawRequest, tell: Callable[[WalkStep], None]) -> Tensor:
    """Draw variants of an image, in turn with others; what `tell` raises ends it.

    Returns:
        `(V, C, H, W)`, about [-1, 1], on the CPU.

    Raises:
        CheckpointError: If the pipeline has no priors.
        ConfigError: If the request does not fit the pipeline.
    """
    pipeline, mask, images = context.pipeline, request.mask, request.image[None]
    asked = DrawRequest(
        seed=request.seed,
        label=None if request.class_name is None else pipeline.class_index(request.class_name),
        sampling=request.sampling,
        num_variants=request.num_variants,
    )
    hooks = WalkReport(tell, context.turns).hooks
    with context.turns.take():
        if mask is None:
            drawn = pipeline.vary(images, asked, hooks=hooks)
        else:
            drawn = pipeline.complete(images, mask, asked, hooks=hooks)
        return drawn[0].cpu()


def view_redrawn(pipeline: Pipeline, request: RedrawRequest, rows: DrawnRows) -> Tensor:
    """Show variants in the middle of their drawing: `(V, C, H, W)`, about [-1, 1], on the CPU."""
    config, mask = pipeline.tokenizer.config, request.mask
    if mask is None:
        hidden = [torch.ones(1, *codes.shape[1:], dtype=torch.bool) for codes in rows.codes]
        return view_rows(pipeline, rows, hidden=hidden).cpu()
    seen = view_rows(pipeline, rows, hidden=hidden_codes(mask[None], config)).cpu()
    return torch.where(mask, seen, request.image)


class SwappedTops(NamedTuple):
    """Two images, and what becomes of them when each gets the other's top codes; all `(C, H, W)`, on the CPU."""

    first: Tensor
    """As it is decoded from its own codes."""
    second: Tensor
    first_with_top_of_second: Tensor
    second_with_top_of_first: Tensor


@torch.inference_mode()
def swap_tops(pipeline: Pipeline, first: Tensor, second: Tensor) -> SwappedTops:
    """Encode two images `(C, H, W)` in [-1, 1] of one size, exchange the codes of their top level, and decode."""
    codes = pipeline.encode(torch.stack([first, second]))
    swapped = Codes((codes[0].flip(0), *codes.maps[1:]))
    decoded = crop_to(pipeline.decode(Codes.concatenate([codes, swapped])), *first.shape[-2:])
    return SwappedTops(*decoded.cpu())
