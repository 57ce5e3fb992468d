"""The one walk over a prior's codes: sampling, completing, coding and step-wise likelihood differ in `choose`.

Shapes: B images, h x w code grid, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqvae2.models.prior import Prior, PriorState

__all__ = ["Choose", "walk"]

Choose = Callable[[int, Tensor], Tensor]
"""Takes a position in raster order and its logits `(B, K)`; returns the codes `(B,)`, int64, for that position."""

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
    cuda_graphs: bool = True,
    compile: bool = False,
) -> Tensor:
    """Visit every position of a code grid in raster order, one cached step each, and choose its code.

    Args:
        prior: In evaluation mode; its device and dtype are those of the walk.
        choose: Called once a position, in order. It must not keep the logits, which the next step overwrites.
        batch_size: B.
        size: Grid `(h, w)`.
        above: The codes of each level above, top first; see `Prior.forward`.
        labels: Classes `(B,)`; see `Prior.forward`.
        cuda_graphs: On a CUDA device, whether the step is captured and replayed, so that its hundreds of small
            kernels cost one launch.
        compile: Whether the step goes through `torch.compile`: a minute or more at the start; whether steps are then
            faster depends on the machine.

    Returns:
        The chosen codes, int64 `(B, h, w)`.

    Raises:
        ValueError: If the prior is in training mode, or shapes do not fit.
    """
    if prior.training:
        raise ValueError("`prior` must be in evaluation mode, got one in training mode; call prior.eval()")
    height, width = size
    state = prior.start(batch_size, size, above=above, labels=labels)
    device = next(prior.parameters()).device
    step: _Step = _compiled(state, device) if compile else state.step
    if device.type == "cuda" and cuda_graphs:
        step = _GraphedStep(state, step, device)
    columns = torch.arange(width, device=device).split(1)
    walked = torch.empty(batch_size, height, width, dtype=torch.int64, device=device)
    for row in range(height):
        state.start_row(row)
        for column in range(width):
            codes = choose(row * width + column, step(columns[column]))
            state.observe(columns[column], codes)
            walked[:, row, column] = codes
    return walked


def _compiled(state: PriorState, device: torch.device) -> _Step:
    # On a CPU, a step of a small batch is hundreds of short calls, which cost less from C++.
    return torch.compile(state.step, options={"cpp_wrapper": device.type == "cpu"})


class _GraphedStep:
    """A step that is captured as a CUDA graph once for each of its variants, and replayed ever after."""

    def __init__(self, state: PriorState, step: _Step, device: torch.device) -> None:
        self._state, self._step = state, step
        self._column = torch.zeros(1, dtype=torch.int64, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()  # one for all, since they run in turn

    def __call__(self, column: Tensor) -> Tensor:
        self._column.copy_(column)
        variant = self._state.variant
        if variant not in self._graphs:
            self._graphs[variant] = self._capture()
        graph, logits = self._graphs[variant]
        graph.replay()
        return logits

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        # A first run outside lets libraries allocate what they need; a step done twice is the same step.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(self._column)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = self._step(self._column)
        return graph, logits
