"""How many threads compute beside other processes."""

import subprocess
import sys
import time

import pytest
import torch

from vqvae2.system import threads
from vqvae2.system.threads import ThreadChoice, choose_threads


@pytest.mark.parametrize(
    ("free", "threads", "most", "chosen"),
    [
        (2.0, 2, 2, 2),
        (1.6, 2, 2, 2),
        (1.4, 2, 2, 1),
        (1.6, 1, 2, 1),  # adding one takes more
        (1.8, 1, 2, 2),
        (-1.0, 2, 2, 1),
        (7.0, 4, 4, 4),  # never more than at the start
        (2.9, 8, 8, 3),
        (7.8, 1, 8, 8),
    ],
)
def test_threads_are_the_cores_that_others_leave_free(free, threads, most, chosen):
    assert choose_threads(free, threads, most) == chosen


@pytest.fixture
def others(monkeypatch):
    """A machine of two cores, on which others are as busy as is set; it is looked at without delay."""
    busy = {"cores": 0.0}
    monkeypatch.setattr(threads, "_SECONDS", 0.0)
    monkeypatch.setattr(threads, "_own_cores", lambda: [0, 1])
    monkeypatch.setattr(
        threads, "_busy_seconds", lambda cores: time.process_time() + busy["cores"] * time.perf_counter()
    )
    return busy


def test_threads_give_way_to_other_processes_and_come_back(others):
    torch.set_num_threads(2)
    choice = ThreadChoice()
    found = []
    for cores in (0.0, 1.0, 1.0, 2.0, 0.0):
        others["cores"] = cores
        choice._begin()
        time.sleep(0.01)
        found.append((choice.adapt(), torch.get_num_threads()))
    assert found == [(False, 2), (True, 1), (False, 1), (False, 1), (True, 2)]
    assert choice.in_words == "all 2 threads"


def test_one_thread_stays_one(others):
    others["cores"] = 1.0
    choice = ThreadChoice()
    assert not choice.adapt()
    assert torch.get_num_threads() == 1


def test_the_work_of_another_process_is_seen():
    cores = threads._own_cores()
    code = "import time\nend = time.time() + 20\nwhile time.time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            busy, own, start = threads._busy_seconds(cores), time.process_time(), time.perf_counter()
            time.sleep(1.5)
            elapsed = time.perf_counter() - start
            others = threads._busy_seconds(cores) - busy - (time.process_time() - own)
            assert 0.2 * elapsed < others < (len(cores) + 0.1) * elapsed
        finally:
            process.kill()
