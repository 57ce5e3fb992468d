"""Who may compute on the device: tasks of several visitors must neither disturb nor block each other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Turns"]


class Turns:
    """Turns on a device, in the order of asking.

    On a CUDA device a walk captures graphs, and while one thread captures, no other may allocate or capture. So one
    thread computes there at a time, and a walk lets others have a turn after each step. On other devices
    threads compute side by side, and nobody waits.

    Args:
        device: The pipeline's.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_exclusive = device.type == "cuda"
        # A plain lock may be taken again by the thread that has just released it, past all that wait.
        self._line: deque[object] = deque()  # the first has the turn
        self._moved = threading.Condition()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn, and have it within this context."""
        self._join()
        try:
            yield
        finally:
            self._leave()

    def pass_on(self) -> None:
        """Within a turn: let everyone who waits go first, then continue."""
        self._leave()
        self._join()

    def _join(self) -> None:
        if self._is_exclusive:
            mine = object()
            with self._moved:
                self._line.append(mine)
                self._moved.wait_for(lambda: self._line[0] is mine)

    def _leave(self) -> None:
        if self._is_exclusive:
            with self._moved:
                self._line.popleft()
                self._moved.notify_all()
