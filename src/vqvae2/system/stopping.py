"""A request to stop, as a cluster sends it before it takes a machine away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vqvae2.errors import StopRequested

__all__ = ["STOPPED_EXIT_CODE", "StopRequest"]

STOPPED_EXIT_CODE = 75
"""Of a process that stopped on request: EX_TEMPFAIL of sysexits.h, "try again"."""


class StopRequest:
    """Whether this process was asked to stop.

    Work whose files appear whole or not at all is interrupted at once, by `StopRequested`. Training defers the request
    (`deferred`), checks `is_made` after each step, and writes a checkpoint first.
    """

    def __init__(self) -> None:
        self.is_made = False
        self._is_deferred = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold a request back until the end of this context.

        Raises:
            StopRequested: At the end of the outermost context, if there was a request.
        """
        before, self._is_deferred = self._is_deferred, True
        try:
            yield
        finally:
            self._is_deferred = before
        if self.is_made:
            self.make()

    def make(self) -> None:
        """Ask to stop.

        Raises:
            StopRequested: Unless the request is deferred.
        """
        self.is_made = True
        if not self._is_deferred:
            raise StopRequested("stopped as asked; run the same command again to resume")
