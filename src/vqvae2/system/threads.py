"""How many threads to compute with, on a machine where other processes are at work too.

Threads of one computation wait for each other. If another process holds one of two cores, both threads move at the pace
of the one that has to wait for its turn, and a step takes several times as long as on one thread.
"""

from __future__ import annotations

import time

import psutil
import torch

__all__ = ["ThreadChoice"]

_SECONDS = 2.0  # between two looks at the machine
_MORE_MARGIN = 0.75  # of a core must be free beyond the threads in use before one is added


class ThreadChoice:
    """Leaves busy cores to other processes: sets the threads of torch to the cores that those leave free.

    There are never more threads than torch had when this was made, so with one thread, nothing ever changes. Other
    numbers of threads add up in another order, and so change the last bits of results.
    """

    def __init__(self) -> None:
        self.most = torch.get_num_threads()
        self._cores = _own_cores()
        self._begin()

    def adapt(self) -> bool:
        """Look at the machine, at most every two seconds; return whether the number of threads was changed."""
        elapsed = time.perf_counter() - self._start
        if self.most == 1 or elapsed < _SECONDS:
            return False
        busy, own = _busy_seconds(self._cores) - self._busy, time.process_time() - self._own
        before = torch.get_num_threads()
        chosen = choose_threads(len(self._cores) - max(0.0, busy - own) / elapsed, before, self.most)
        self._begin()
        if chosen != before:
            torch.set_num_threads(chosen)
        return chosen != before

    @property
    def in_words(self) -> str:
        """What was chosen, and why."""
        threads = torch.get_num_threads()
        if threads == self.most:
            return f"all {threads} threads"
        return f"{threads} of {self.most} threads, since other processes are at work,"

    def _begin(self) -> None:
        """Begin to measure anew."""
        self._start = time.perf_counter()
        self._busy, self._own = _busy_seconds(self._cores), time.process_time()


def choose_threads(free_cores: float, threads: int, most: int) -> int:
    """Choose a number of threads for so many cores that others leave free; adding one takes more than dropping one."""
    wanted = round(free_cores)
    if wanted > threads:
        wanted = max(threads, int(free_cores + 1.0 - _MORE_MARGIN))
    return min(most, max(1, wanted))


def _own_cores() -> list[int]:
    """List the cores that this process may use."""
    process = psutil.Process()
    # Where a system cannot say, as macOS, all are allowed.
    return process.cpu_affinity() if hasattr(process, "cpu_affinity") else list(range(psutil.cpu_count() or 1))


def _busy_seconds(cores: list[int]) -> float:
    """Add up the time that some cores have worked since the machine was started, for any process."""
    idle = ("idle", "iowait", "guest", "guest_nice")  # guests are in the time of users already
    times = psutil.cpu_times(percpu=True)
    of_cores = [times[core]._asdict() for core in cores if core < len(times)]  # some may be switched off
    return sum(seconds for core in of_cores for name, seconds in core.items() if name not in idle)
