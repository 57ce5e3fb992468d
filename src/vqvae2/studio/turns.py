"""Who may compute on the device: several visitors' work must neither disturb nor block each other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Turns"]


class Turns:
    """Turns on a device, in the order in which they are asked for.

    On a CUDA device a walk captures graphs, and while one thread captures, no other may allocate or capture. So one
    thread at a time computes there, and a walk gives others their turn after each row of codes. Elsewhere threads
    compute beside each other, and a turn costs nothing.

    Args:
        device: Where the pipeline is.
    """

    def __init__(self, device: torch.device) -> None:
        self._takes_turns = device.type == "cuda"
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()  # a plain lock would let its last owner in again first
        self._is_taken = False

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn, and have it in this context."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def pass_on(self) -> None:
        """In the middle of a turn: let those who wait go first, and wait for the next one."""
        self._end()
        self._begin()

    def _begin(self) -> None:
        if not self._takes_turns:
            return
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _end(self) -> None:
        if not self._takes_turns:
            return
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # it stays taken, by the next
            else:
                self._is_taken = False
