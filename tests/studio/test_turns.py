"""On a CUDA device one thread at a time computes, in the order of asking; elsewhere nobody waits."""

import threading

import torch

from vqvae2.studio.turns import Turns

PATIENCE_SECONDS = 20.0


def test_on_cuda_only_one_has_a_turn_and_the_first_who_asked_is_next():
    turns, order, asked = Turns(torch.device("cuda")), [], []

    def compute(name):
        with turns.take():
            order.append(name)

    with turns.take():
        for name in ("first", "second", "third"):
            thread = threading.Thread(target=compute, args=(name,))
            thread.start()
            asked.append(thread)
            while len(turns._waiting) < len(asked):
                pass
        assert order == []
    for thread in asked:
        thread.join(PATIENCE_SECONDS)
    assert order == ["first", "second", "third"]


def test_long_work_passes_its_turn_on_and_gets_it_back():
    turns, order = Turns(torch.device("cuda")), []

    def short():
        with turns.take():
            order.append("short")

    with turns.take():
        thread = threading.Thread(target=short)
        thread.start()
        while not turns._waiting:
            pass
        order.append("long begins")
        turns.pass_on()
        order.append("long goes on")
    thread.join(PATIENCE_SECONDS)
    assert order == ["long begins", "short", "long goes on"]


def test_a_turn_ends_with_an_error():
    turns = Turns(torch.device("cuda"))
    for _ in range(2):
        try:
            with turns.take():
                raise KeyError
        except KeyError:
            pass
    turns.take().__enter__()  # nobody has it


def test_on_a_cpu_all_compute_beside_each_other():
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
