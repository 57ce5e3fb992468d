"""Long work in a thread of its own, which shows its progress and ends when nobody watches any more."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from typing import TypeVar

__all__ = ["watch"]

_Step = TypeVar("_Step")
_Shown = TypeVar("_Shown")
_Result = TypeVar("_Result")

_SECONDS_BETWEEN_STEPS = 1 / 8  # a page is sent at most so many pictures
_LONGEST_SILENCE_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0


class _NobodyWatchesError(Exception):
    """Ends the work from within."""


def watch(
    work: Callable[[Callable[[_Step], None]], _Result],
    show: Callable[[_Step | None], _Shown],
    *,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> Generator[_Shown, None, _Result]:
    """Do work in another thread, and show its newest step at most 8 times a second.

    The work never waits for its watcher, so steps may be dropped. Showing takes at most half of the time, since both
    may compute on the same processor. The work ends when this generator is closed early, or when nobody takes a step
    for `patience_seconds`.

    Args:
        work: Called with a function that takes each step. That function raises once the work has to end, and the work
            must let the exception pass.
        show: Turns a step into what is yielded. It receives None at the latest after a second without a step, so that
            whoever iterates can close the generator.

    Yields:
        What `show` makes of the newest step.

    Returns:
        The work's result.

    Raises:
        Exception: Whatever the work raised.
    """
    newest: deque[_Step] = deque(maxlen=1)
    is_closed, last_look = False, time.perf_counter()
    future: Future[_Result] = Future()
    has_news = threading.Event()
    future.add_done_callback(lambda _: has_news.set())

    def tell(step: _Step) -> None:
        if is_closed or time.perf_counter() - last_look > patience_seconds:
            raise _NobodyWatchesError
        newest.append(step)
        has_news.set()

    def run() -> None:
        try:
            future.set_result(work(tell))
        except BaseException as error:  # raised again by `future.result`
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        while True:
            has_news.wait(_LONGEST_SILENCE_SECONDS)
            has_news.clear()  # before looking, so that no news is missed
            last_look = time.perf_counter()
            if future.done():
                return future.result()
            shown = show(newest.pop() if newest else None)
            seconds = time.perf_counter() - last_look
            yield shown
            wait([future], timeout=max(_SECONDS_BETWEEN_STEPS, seconds))
    finally:
        is_closed = True
