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
def wait_in_line(turns):
    """Let a thread ask for a turn, in which it appends a name; it waits before this returns."""
    threads = []

    def start(name, order):
        def compute():
            with turns.take():
                order.append(name)

        length = len(turns._line)
        threads.append(threading.Thread(target=compute))
        threads[-1].start()
        end = time.perf_counter() + PATIENCE_SECONDS
        while len(turns._line) == length:
            assert time.perf_counter() < end

    yield start
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_on_cuda_one_computes_and_passes_its_turn_on_in_the_order_of_asking(turns, wait_in_line):
    order = []
    with turns.take():
        for name in ("first", "second", "third"):
            wait_in_line(name, order)
        assert order == []
        turns.pass_on()
        assert order == ["first", "second", "third"]


def test_a_turn_ends_with_an_error(turns):
    for _ in range(2):
        with pytest.raises(KeyError), turns.take():
            raise KeyError


def test_on_a_cpu_all_compute_side_by_side():
    turns, meeting = Turns(torch.device("cpu")), threading.Barrier(2)

    def compute():
        with turns.take():
            meeting.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=compute)
    thread.start()
    compute()
    thread.join(PATIENCE_SECONDS)
    assert not meeting.broken
