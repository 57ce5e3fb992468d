"""Makes the next items while the last one is used."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

__all__ = ["prefetched"]

T = TypeVar("T")


def prefetched(items: Iterable[T], *, depth: int) -> Iterator[T]:
    """Give the same items in the same order, of which a thread makes up to `depth` ahead of need.

    What making an item raises is raised where that item would have been given. The thread begins with the first item
    that is asked for; it has ended once the iterator is exhausted, closed or dropped, after the item that it is at.

    Args:
        items: What to make; it is only used by the thread, and closed there.
        depth: How many items may wait, the one in the making among them; this bounds the memory.

    Raises:
        ValueError: If `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"`depth` must be at least 1, got {depth}")
    return _consume(_Line(items, depth))


def _consume(line: _Line[T]) -> Iterator[T]:
    thread = threading.Thread(target=line.fill, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = line.take()
            except StopIteration:
                return
            yield item
    finally:
        line.close()
        thread.join()


class _Line(Generic[T]):
    """The items between the thread that makes them and the one that uses them."""

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items, self._depth = items, depth
        self._ready: deque[T] = deque()
        self._change = threading.Condition()
        self._end: BaseException | None = None  # set once there is nothing more to come
        self._is_closed = False

    def fill(self) -> None:
        end: BaseException = StopIteration()
        iterator = iter(self._items)
        try:
            for item in iterator:
                with self._change:
                    self._ready.append(item)
                    self._change.notify_all()
                    self._change.wait_for(lambda: len(self._ready) < self._depth or self._is_closed)
                    if self._is_closed:
                        break
                del item  # or one more would be held
        except BaseException as error:  # whatever it is, it belongs to the thread that asked
            end = error
        finally:
            close: Any = getattr(iterator, "close", None)
            if close is not None:
                close()
            with self._change:
                self._end = end
                self._change.notify_all()

    def take(self) -> T:
        with self._change:
            self._change.wait_for(lambda: self._ready or self._end is not None)
            if not self._ready:
                assert self._end is not None
                raise self._end
            item = self._ready.popleft()
            self._change.notify_all()
            return item

    def close(self) -> None:
        with self._change:
            self._is_closed = True
            self._ready.clear()
            self._change.notify_all()
