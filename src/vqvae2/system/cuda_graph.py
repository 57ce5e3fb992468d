"""A function that does the same each time, as one CUDA graph: hundreds of small kernels then cost one launch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

__all__ = ["GraphedFunction"]

T = TypeVar("T")


class GraphedFunction(Generic[T]):
    """Call a function without arguments; after `eager_calls`, by a graph of its kernels.

    The function must read and write the same tensors each time, and neither wait for the device nor use numbers of the
    host that change. It draws random numbers by the device's seed, as without a graph. What a call returns may be
    overwritten by the next one.
    """

    def __init__(self, function: Callable[[], T], *, eager_calls: int = 1) -> None:
        self._function, self._eager_calls = function, eager_calls
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> T:
        if self._eager_calls:
            # Outside of a graph, libraries may allocate and choose what they need.
            self._eager_calls -= 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = self._function()
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            # Other threads may go on to allocate, such as the one that pins the next batches.
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                self._result = self._function()
        self._graph.replay()
        return self._result
