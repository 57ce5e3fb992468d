"""Pictures of images while they are drawn: each part from the lowest level that has been drawn there.

Shapes: B images, C channels, H x W pixels, h x w code grid of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vqvae2.images import crop_to
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.hooks import DrawnFront, Hooks
from vqvae2.studio.turns import Turns

__all__ = ["WalkStep", "view_front", "walk_hooks"]

_BLANK = 0.85  # of what has not been drawn yet: a light grey, in [-1, 1]


class WalkStep(NamedTuple):
    """How far a walk is."""

    done: int
    """Codes of all images together."""
    total: int
    front: DrawnFront | None = None
    """The newest; None before the first one."""


def walk_hooks(turns: Turns, tell: Callable[[WalkStep], None] = lambda step: None) -> Hooks:
    """Make hooks that tell each step of a walk and then let others have a turn; what `tell` raises ends the walk."""
    newest = WalkStep(0, 1)

    def on_progress(done: int, total: int) -> None:
        nonlocal newest
        newest = newest._replace(done=done, total=total)
        tell(newest)
        turns.pass_on()

    def on_front(front: DrawnFront) -> None:
        nonlocal newest
        newest = newest._replace(front=front)
        tell(newest)

    return Hooks(on_progress=on_progress, on_front=on_front)


@torch.inference_mode()
def view_front(pipeline: Pipeline, front: DrawnFront, *, hidden: Sequence[Tensor] | None = None) -> Tensor:
    """Decode what has been drawn: visited positions of a level in detail, the rest from the levels above.

    Args:
        pipeline: Decodes the codes.
        front: From a hook.
        hidden: Which codes are drawn, bool `(B or 1, h, w)` per level; None for all.

    Returns:
        `(B, C, H, W)`, about [-1, 1]; a light grey where not even the top has been drawn.
    """
    level, config = front.level, pipeline.tokenizer.config
    detailed = pipeline.decode(front.codes, levels=level + 1)
    coarse = pipeline.decode(front.codes, levels=level) if level else torch.full_like(detailed, _BLANK)
    is_to_come = torch.ones(1, *front.codes.shapes[level], dtype=torch.bool)
    is_to_come.view(-1)[front.positions.cpu()] = False
    if hidden is not None:
        is_to_come = is_to_come & hidden[level].cpu()
    reduction = config.reductions[level]
    pixels = is_to_come.repeat_interleave(reduction, dim=1).repeat_interleave(reduction, dim=2)[:, None]
    return crop_to(torch.where(pixels.to(detailed.device), coarse, detailed), *pipeline.config.image_size)
