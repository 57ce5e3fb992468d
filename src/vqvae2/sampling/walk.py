"""The one walk over a prior's codes. Sampling, completing, coding and step-wise likelihood differ in `choose` alone.

Shapes: B images, h x w code grid, L = h w positions, n positions of a front, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from vqvae2.models.prior import Prior, PriorState
from vqvae2.system.cuda_graph import GraphedFunction

__all__ = ["Choose", "OnFront", "walk"]

Choose = Callable[[Tensor, Tensor], Tensor]
"""Takes the positions of a front, int64 `(n,)` numbers in raster order, and their logits `(B, n, K)`; returns their
codes `(B, n)`, int64."""

OnFront = Callable[[Tensor, Tensor], None]
"""Receives the positions that were visited so far, as `Choose` does, in the order of their visits, and all codes
`(B, h, w)`; those not visited yet are 0, or known."""


def walk(
    prior: Prior,
    choose: Choose,
    *,
    batch_size: int,
    size: tuple[int, int],
    above: Sequence[Tensor] = (),
    labels: Tensor | None = None,
    known: Tensor | None = None,
    on_front: OnFront | None = None,
    cuda_graphs: bool = True,
) -> Tensor:
    """Visit every position of a code grid, front by front (see `nn/fronts.py`), and choose its code.

    Args:
        prior: In evaluation mode; its device and dtype are those of the walk.
        choose: Called once per front, in order. It must not keep the logits, which the next step overwrites.
        batch_size: B.
        size: Grid `(h, w)`.
        above: The codes of each level above, top first; see `Prior.forward`.
        labels: Classes `(B,)`; see `Prior.forward`.
        known: Codes that stay as they are, int64 `(B, h, w)`, with -1 where `choose` decides; None lets it decide
            everywhere.
        on_front: Called after each front.
        cuda_graphs: On a CUDA device, whether to capture the step as a graph, so that its hundreds of small kernels
            cost one launch.

    Returns:
        All codes, int64 `(B, h, w)`.

    Raises:
        ValueError: If the prior is in training mode, or shapes do not fit.
    """
    if prior.training:
        raise ValueError("`prior` must be in evaluation mode, got one in training mode; call prior.eval()")
    walked = torch.zeros(batch_size, math.prod(size), dtype=torch.int64, device=next(prior.parameters()).device)
    if known is not None:
        known = known.flatten(1)
        walked.copy_(known.clamp(min=0))
    with torch.inference_mode():  # `walked` is older than that, so autograd takes it
        state = prior.start(batch_size, size, above=above, labels=labels)
        fronts = state.fronts
        all_places = torch.arange(len(fronts.positions), device=walked.device)
        step = _GraphedStep(state) if walked.is_cuda and cuda_graphs else state.step
        for start, end in pairwise((0, *fronts.ends)):
            places, positions = all_places[start:end], fronts.positions[start:end]
            codes = choose(positions, step(places, end))
            if known is not None:
                given = known[:, positions]
                codes = torch.where(given < 0, codes, given)
            state.observe(places, codes)
            walked[:, positions] = codes
            if on_front is not None:
                on_front(fronts.positions[:end], walked.view(batch_size, *size))
    return walked.view(batch_size, *size)


class _GraphedStep:
    """Takes every step as one CUDA graph, that of the longest front; shorter ones are padded."""

    def __init__(self, state: PriorState) -> None:
        self._padding = len(state.fronts.positions)
        self._places = state.fronts.positions.new_full((state.fronts.longest,), self._padding)
        self._step = GraphedFunction(lambda: state.step(self._places, self._padding + 1))

    def __call__(self, places: Tensor, end: int) -> Tensor:
        self._places.fill_(self._padding)[: len(places)] = places
        return self._step()[:, : len(places)]
