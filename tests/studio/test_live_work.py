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


def test_the_result_comes_after_the_steps():
    def follow():
        result.append((yield from watch(lambda tell: tell(1) or "done", itself)))

    result = []
    assert set(follow()) <= {1, None}
    assert result == ["done"]


def test_the_newest_step_is_shown_at_most_eight_times_a_second():
    def work(tell):
        for step in range(500):
            tell(step)
            time.sleep(0.001)

    start = time.perf_counter()
    steps = [step for step in watch(work, itself) if step is not None]
    assert steps == sorted(set(steps))
    assert 0 < len(steps) <= 1 + 8 * (time.perf_counter() - start)


def test_showing_takes_at_most_half_of_the_time():
    def work(tell):
        while time.perf_counter() < start + 1.0:
            tell("step")
            time.sleep(0.001)

    start = time.perf_counter()
    num_shown = len(list(watch(work, lambda step: time.sleep(0.25))))
    assert num_shown > 0
    assert (2 * num_shown - 1) * 0.25 <= time.perf_counter() - start  # no pause follows the last one


def test_a_watcher_hears_from_silent_work(ended):
    steps = watch(lambda tell: ended.wait(PATIENCE_SECONDS), itself)
    assert next(steps) is None
    ended.set()
    assert list(steps) == []


@pytest.mark.parametrize("patience_seconds", [60.0, 0.2])
def test_work_ends_when_its_watcher_leaves_or_takes_no_step_any_more(endless, ended, patience_seconds):
    steps = watch(endless, itself, patience_seconds=patience_seconds)
    next(steps)
    if patience_seconds > 1.0:
        assert not ended.is_set()
        steps.close()
    assert ended.wait(PATIENCE_SECONDS)
    steps.close()


def test_what_the_work_raises_reaches_its_watcher():
    def work(tell):
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        list(watch(work, itself))
