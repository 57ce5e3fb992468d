"""Work in a thread of its own shows its newest step, and ends when nobody watches."""

import threading
import time

import pytest

from vqvae2.studio.live_work import watch

PATIENCE_SECONDS = 20.0


def itself(step):
    return step


@pytest.fixture
def ended():
    return threading.Event()


@pytest.fixture
def endless(ended):
    """Work that runs until it is ended."""

    def work(tell):
        try:
            while True:
                tell("step")
                time.sleep(0.001)
        finally:
            ended.set()

    return work


def collect(steps, shown):
    """Append what is shown, and return the result."""
    while True:
        try:
            shown.append(next(steps))
        except StopIteration as stop:
            return stop.value


def test_the_result_comes_after_the_steps():
    shown = []
    assert collect(watch(lambda tell: tell(1) or "done", itself), shown) == "done"
    assert set(shown) <= {1, None}


def test_the_newest_step_is_shown_at_most_eight_times_a_second():
    def work(tell):
        for step in range(500):
            tell(step)
            time.sleep(0.001)

    start = time.perf_counter()
    steps = [step for step in watch(work, itself) if step is not None]
    assert steps == sorted(set(steps))
    assert 0 < len(steps) <= 1 + 8 * (time.perf_counter() - start)


def test_a_watcher_hears_from_silent_work_and_can_leave(ended):
    resume = threading.Event()

    def work(tell):
        resume.wait(PATIENCE_SECONDS)
        try:
            tell("step")
        finally:
            ended.set()

    steps = watch(work, itself)
    assert next(steps) is None
    steps.close()
    resume.set()
    assert ended.wait(PATIENCE_SECONDS)


def test_work_ends_when_its_watcher_leaves(endless, ended):
    steps = watch(endless, itself)
    next(steps)
    assert not ended.is_set()
    steps.close()
    assert ended.wait(PATIENCE_SECONDS)


def test_work_ends_when_no_step_is_taken_any_more(endless, ended):
    steps = watch(endless, itself, patience_seconds=0.2)
    next(steps)
    assert ended.wait(PATIENCE_SECONDS)
    steps.close()


def test_what_the_work_raises_reaches_its_watcher():
    def work(tell):
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        list(watch(work, itself))
