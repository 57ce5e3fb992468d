"""On a CUDA device one thread computes at a time, in the order of asking; elsewhere nobody waits."""

import threading
import time

import pytest
import torch

from vqvae2.studio.turns import Turns

PATIENCE_SECONDS = 20.0


@pytest.fixture
def turns():
    return Turns(torch.device("cuda"))


@pytest.fixture
def begin(turns):
    """Start threads that take a turn each, and note their names; each waits before the next one asks."""
    threads = []

    def start(name, order):
        def compute():
            with turns.take():
                order.append(name)

        waiting = len(turns._line)
        threads.append(threading.Thread(target=compute))
        threads[-1].start()
        end = time.perf_counter() + PATIENCE_SECONDS
        while len(turns._line) == waiting:
            assert time.perf_counter() < end

    yield start
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_on_cuda_only_one_has_a_turn_and_whoever_asked_first_is_next(turns, begin):
    order = []
    with turns.take():
        for name in ("first", "second", "third"):
            begin(name, order)
        assert order == []
        turns.pass_on()
        assert order == ["first", "second", "third"]


def test_long_work_passes_its_turn_on_and_gets_it_back(turns, begin):
    order = []
    with turns.take():
        begin("short", order)
        order.append("long begins")
        turns.pass_on()
        order.append("long continues")
    assert order == ["long begins", "short", "long continues"]


def test_a_turn_ends_with_an_error(turns, begin):
    for _ in range(2):
        with pytest.raises(KeyError), turns.take():
            raise KeyError
    order = []
    with turns.take():
        begin("next", order)


def test_on_a_cpu_all_compute_side_by_side():
    turns, meeting = Turns(torch.device("cpu")), threading.Barrier(2)

    def compute():
        with turns.take():
            meeting.wait(PATIENCE_SECONDS)
            turns.pass_on()

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not meeting.broken
