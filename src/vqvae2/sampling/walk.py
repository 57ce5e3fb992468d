"""The one walk over a prior's codes. Sampling, completing, coding and step-wise likelihood differ in `choose` alone.

Shapes: B images, h x w code grid, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqvae2.models.prior import Prior, PriorState

__all__ = ["Choose", "OnRow", "walk"]

Choose = Callable[[int, Tensor], Tensor]
"""Takes a position in raster order and its logits `(B, K)`; returns the codes `(B,)`, int64, for that position."""

OnRow = Callable[[int, Tensor], None]
"""Receives the number of complete rows, and all codes `(B, h, w)`; those not visited yet are 0, or known."""

_Step = Callable[[Tensor], Tensor]


@torch.inference_mode()
def walk(
    prior: Prior,
    choose: Choose,
    *,
    batch_size: int,
    size: tuple[int, int],
    above: Sequence[Tensor] = (),
    labels: Tensor | None = None,
    known: Tensor | None = None,
    on_row: OnRow | None = None,
    cuda_graphs: bool = True,
    compile: bool = False,
) -> Tensor:
    """Visit every position of a code grid in raster order, one cached step each, and choose its code.

    Args:
        prior: In evaluation mode; its device and dtype are those of the walk.
        choose: Called once per position, in order. It must not keep the logits, which the next step overwrites.
        batch_size: B.
        size: Grid `(h, w)`.
        above: The codes of each level above, top first; see `Prior.forward`.
        labels: Classes `(B,)`; see `Prior.forward`.
        known: Codes that stay as they are, int64 `(B, h, w)`, with -1 where `choose` decides; None lets it decide
            everywhere.
        on_row: Called after each row.
        cuda_graphs: On a CUDA device, whether to capture the step as a graph, so that its hundreds of small kernels
            cost one launch.
        compile: Whether to compile the step with `torch.compile`. This takes a minute or more at the start, and
            whether steps are then faster depends on the machine.

    Returns:
        All codes, int64 `(B, h, w)`.

    Raises:
        ValueError: If the prior is in training mode, or shapes do not fit.
    """
    if prior.training:
        raise ValueError("`prior` must be in evaluation mode, got one in training mode; call prior.eval()")
    height, width = size
    state = prior.start(batch_size, size, above=above, labels=labels)
    device = next(prior.parameters()).device
    step: _Step = state.step
    if compile:  # on a CPU, the step of a small batch is hundreds of short calls, which cost less from C++
        step = torch.compile(state.step, options={"cpp_wrapper": device.type == "cpu"})
    if device.type == "cuda" and cuda_graphs:
        step = _GraphedStep(state, step, device)
    columns = torch.arange(width, device=device).split(1)
    walked = torch.zeros(batch_size, height, width, dtype=torch.int64, device=device)
    if known is not None:
        walked.copy_(known.clamp(min=0))
    for row in range(height):
        state.start_row(row)
        for column in range(width):
            codes = choose(row * width + column, step(columns[column]))
            if known is not None:
                given = known[:, row, column]
                codes = torch.where(given < 0, codes, given)
            state.observe(columns[column], codes)
            walked[:, row, column] = codes
        if on_row is not None:
            on_row(row + 1, walked)
    return walked


class _GraphedStep:
    """Captures the step as a CUDA graph once per variant of a row, and then replays it."""

    def __init__(self, state: PriorState, step: _Step, device: torch.device) -> None:
        self._state, self._step = state, step
        self._column = torch.zeros(1, dtype=torch.int64, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()  # shared: the graphs never run at once

    def __call__(self, column: Tensor) -> Tensor:
        self._column.copy_(column)
        variant = self._state.variant
        if variant not in self._graphs:
            self._graphs[variant] = self._capture()
        graph, logits = self._graphs[variant]
        graph.replay()
        return logits

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        # A first run outside the graph lets libraries allocate what they need; repeating a step changes nothing.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(self._column)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = self._step(self._column)
        return graph, logits
