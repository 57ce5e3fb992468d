"""Long work in a thread of its own, which shows how far it is, and ends when nobody looks any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["LiveWork"]

_Step = TypeVar("_Step")
_Result = TypeVar("_Result")

_SECONDS_BETWEEN_STEPS = 1 / 8  # pictures in a second that a page is sent at most
_LONGEST_SILENCE_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0  # after which a looker who takes no step is taken for gone


class _NobodyLooksError(Exception):
    """Ends the work from within."""


class LiveWork(Generic[_Step, _Result]):
    """Does work once, while another thread looks at its newest step.

    Steps that nobody took in time are dropped: the work never waits for its looker. It ends when `steps` is closed
    before its end, or when no step is taken for a minute.

    Args:
        work: Called in the thread with a function that it tells each of its steps. That function raises once the work
                is to end, and the work must let this pass.
        patience_seconds: How long a step may go without being taken.
    """

    def __init__(
        self, work: Callable[[Callable[[_Step], None]], _Result], *, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        self._work, self._patience_seconds = work, patience_seconds
        self._changed = threading.Condition()
        self._newest: list[_Step] = []  # at most one
        self._results: list[_Result] = []  # at most one
        self._error: BaseException | None = None
        self._is_done = self._is_closed = False
        self._last_look = time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def result(self) -> _Result:
        """What the work gave; there once `steps` has come to its end."""
        return self._results[0]

    def steps(self) -> Iterator[_Step | None]:
        """Begin the work, and give its newest step whenever there is one, at most 8 a second.

        Yields:
            A step; or None after a second without any, so that whoever iterates can close this.

        Raises:
            Exception: What the work raised.
        """
        self._thread.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._newest or self._is_done, _LONGEST_SILENCE_SECONDS)
                    self._last_look = time.perf_counter()
                    step = self._newest.pop() if self._newest else None
                    is_done = self._is_done
                if is_done:
                    break
                yield step
                with self._changed:
                    self._changed.wait_for(lambda: self._is_done, _SECONDS_BETWEEN_STEPS)
        finally:
            self._is_closed = True
        if self._error is not None:
            raise self._error

    def _tell(self, step: _Step) -> None:
        if self._is_closed or time.perf_counter() - self._last_look > self._patience_seconds:
            raise _NobodyLooksError
        with self._changed:
            self._newest[:] = [step]
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._results.append(self._work(self._tell))
        except _NobodyLooksError:
            pass
        except BaseException as error:  # it is raised where the steps are looked at
            self._error = error
        finally:
            with self._changed:
                self._is_done = True
                self._changed.notify_all()
