"""Laws of making items ahead of need."""

import threading
import time
import weakref

import pytest

from vqvae2.data import prefetched


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_items_and_their_order_stay(depth):
    for count in (0, 1, 5, 40):
        assert list(prefetched(range(count), depth=depth)) == list(range(count))
    assert threads() == []


def test_an_error_is_raised_where_its_item_would_have_been():
    def items():
        yield from (1, 2)
        raise KeyError("three")

    iterator = prefetched(items(), depth=5)
    assert [next(iterator), next(iterator)] == [1, 2]
    with pytest.raises(KeyError, match="three"):
        next(iterator)
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_the_depth_is_made_ahead(depth):
    made = []
    iterator = prefetched((made.append(number) or number for number in range(100)), depth=depth)
    assert made == []  # nothing begins before the first item is asked for
    for taken in range(1, 6):
        next(iterator)
        deadline = time.monotonic() + 5.0
        while len(made) < taken + depth and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(made) == taken + depth
    iterator.close()


@pytest.mark.parametrize("how", ["close", "drop"])
def test_stopping_early_ends_the_thread_and_closes_the_source(how):
    closed = threading.Event()

    def items():
        try:
            yield from range(1000)
        finally:
            closed.set()

    iterator = prefetched(items(), depth=2)
    next(iterator)
    if how == "close":
        iterator.close()
    del iterator
    assert closed.wait(5.0)
    assert threads() == []


def test_items_are_not_held_longer_than_they_are_used():
    iterator = prefetched(({number} for number in range(3)), depth=1)
    reference = weakref.ref(next(iterator))
    next(iterator)
    next(iterator)
    assert reference() is None
    iterator.close()
