"""Pictures of images in the middle of a drawing: each part from the lowest level that is drawn there.

Shapes: B images, C channels, H x W pixels, h x w code grid of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from vqvae2.images import crop_to
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.hooks import DrawnRows, Hooks
from vqvae2.studio.turns import Turns

__all__ = ["WalkReport", "WalkStep", "view_rows"]

_BLANK = 0.85  # of what is not there yet: a light grey, in [-1, 1]


class WalkStep(NamedTuple):
    """How far a walk is."""

    done: int
    """Codes, of all images together."""
    total: int
    rows: DrawnRows | None
    """The newest; None before the first row."""


@dataclass
class WalkReport:
    """Turns what a walk's hooks receive into `WalkStep`s, and gives others their turn."""

    tell: Callable[[WalkStep], None]
    """What it raises ends the walk."""
    turns: Turns
    _newest: WalkStep = field(default=WalkStep(0, 1, None))

    @property
    def hooks(self) -> Hooks:
        return Hooks(on_progress=self._on_progress, on_rows=self._on_rows)

    def _on_progress(self, done: int, total: int) -> None:
        self._newest = self._newest._replace(done=done, total=total)
        self.tell(self._newest)

    def _on_rows(self, rows: DrawnRows) -> None:
        self._newest = self._newest._replace(rows=rows)
        self.tell(self._newest)
        self.turns.pass_on()


@torch.inference_mode()
def view_rows(pipeline: Pipeline, rows: DrawnRows, *, hidden: Sequence[Tensor] | None = None) -> Tensor:
    """Decode what is drawn so far: rows of a level in detail, the rest as the levels above have it.

    Args:
        pipeline: Whose codes they are.
        rows: As `Hooks.on_rows` receives them.
        hidden: Which codes are drawn at all, bool `(B or 1, h, w)` a level; None for all of them.

    Returns:
        `(B, C, H, W)`, about [-1, 1]; a light grey where not even the top is drawn.
    """
    level, config = rows.level, pipeline.tokenizer.config
    detailed = pipeline.decode(rows.codes, levels=level + 1)
    coarse = pipeline.decode(rows.codes, levels=level) if level else torch.full_like(detailed, _BLANK)
    shape = rows.codes[level].shape
    is_to_come = (torch.arange(shape[1]) >= rows.num_rows)[None, :, None].expand(1, *shape[1:])
    if hidden is not None:
        is_to_come = is_to_come & hidden[level].cpu()
    reduction = config.reductions[level]
    pixels = is_to_come.repeat_interleave(reduction, dim=1).repeat_interleave(reduction, dim=2)[:, None]
    return crop_to(torch.where(pixels.to(detailed.device), coarse, detailed), *pipeline.config.image_size)
