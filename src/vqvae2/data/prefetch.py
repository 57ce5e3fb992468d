"""Makes the next items while the last one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["prefetched"]

T = TypeVar("T")

_END: Any = object()


def prefetched(items: Iterable[T], *, depth: int = 2) -> Iterator[T]:
    """Yield the same items in the same order, of which a thread makes up to `depth` ahead of need.

    An error of `items` is raised where its item would have come. The thread starts with the first item asked for. It
    ends once the iterator is exhausted, closed or dropped, after the item that it is making; `items` is then closed.
    """
    assert depth >= 1
    iterator: Any = iter(items)
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        waiting.extend(pool.submit(next, iterator, _END) for _ in range(depth))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, iterator, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        if hasattr(iterator, "close"):
            iterator.close()
