"""The one walk over a prior's codes: sampling, completing, coding and step-wise likelihood differ in `choose`.

Shapes: B images, h x w code grid, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqvae2.models.prior import Prior

__all__ = ["Choose", "walk"]

Choose = Callable[[int, Tensor], Tensor]
"""Takes a position in raster order and its logits `(B, K)`; returns the codes `(B,)`, int64, for that position."""


@torch.inference_mode()
def walk(
    prior: Prior,
    choose: Choose,
    *,
    batch_size: int,
    size: tuple[int, int],
    above: Sequence[Tensor] = (),
    labels: Tensor | None = None,
) -> Tensor:
    """Visit every position of a code grid in raster order, one cached step each, and choose its code.

    Args:
        prior: In evaluation mode; its device and dtype are those of the walk.
        choose: Called once a position, in order.
        batch_size: B.
        size: Grid `(h, w)`.
        above: The codes of each level above, top first; see `Prior.forward`.
        labels: Classes `(B,)`; see `Prior.forward`.

    Returns:
        The chosen codes, int64 `(B, h, w)`.

    Raises:
        ValueError: If the prior is in training mode, or shapes do not fit.
    """
    if prior.training:
        raise ValueError("`prior` must be in evaluation mode, got one in training mode; call prior.eval()")
    height, width = size
    state = prior.start(batch_size, size, above=above, labels=labels)
    walked = torch.empty(batch_size, height, width, dtype=torch.int64, device=next(prior.parameters()).device)
    for row in range(height):
        for column in range(width):
            codes = choose(row * width + column, state.step(row, column))
            state.observe(row, column, codes)
            walked[:, row, column] = codes
    return walked
