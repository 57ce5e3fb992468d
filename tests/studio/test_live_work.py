"""Work in a thread of its own shows its newest step, and ends when nobody looks."""

import threading
import time

import pytest

from vqvae2.studio.live_work import LiveWork

PATIENCE_SECONDS = 20.0


def endless(ended):
    """Make work that goes on until it is ended."""

    def work(tell):
        try:
            while True:
                tell("step")
                time.sleep(0.001)
        finally:
            ended.set()

    return work


def test_the_result_is_there_after_the_steps():
    live = LiveWork(lambda tell: tell(1) or "done")
    assert set(live.steps()) <= {1, None}
    assert live.result == "done"


def test_the_newest_step_is_shown_at_most_eight_times_a_second():
    def work(tell):
        for step in range(500):
            tell(step)
            time.sleep(0.001)

    start = time.perf_counter()
    steps = [step for step in LiveWork(work).steps() if step is not None]
    assert steps == sorted(set(steps))
    assert 0 < len(steps) <= 1 + 8 * (time.perf_counter() - start)


def test_a_looker_hears_from_silent_work_and_can_leave():
    ended, go_on = threading.Event(), threading.Event()

    def work(tell):
        go_on.wait(PATIENCE_SECONDS)
        try:
            tell("step")
        finally:
            ended.set()

    steps = LiveWork(work).steps()
    assert next(steps) is None
    steps.close()
    go_on.set()
    assert ended.wait(PATIENCE_SECONDS)


def test_work_ends_when_its_steps_are_closed():
    ended = threading.Event()
    steps = LiveWork(endless(ended)).steps()
    next(steps)
    assert not ended.is_set()
    steps.close()
    assert ended.wait(PATIENCE_SECONDS)


def test_work_ends_when_no_step_is_taken_any_more():
    ended = threading.Event()
    steps = LiveWork(endless(ended), patience_seconds=0.2).steps()
    next(steps)
    assert ended.wait(PATIENCE_SECONDS)
    steps.close()


def test_what_the_work_raises_is_raised_to_its_looker():
    def work(tell):
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        list(LiveWork(work).steps())
