"""What the command shows and hears: results on stdout, progress and messages on stderr, and SIGTERM."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from vqvae2.system.progress import Progress
from vqvae2.system.stopping import StopRequest

__all__ = ["Terminal", "print_results"]


class Terminal:
    """Shows the stages of a run and a bar for each long one. A `vqvae2.runs.run.Listener`.

    Where stderr is no terminal, a line every so often takes the place of a moving bar.

    Args:
        is_silent: Show nothing, as it becomes all processes of a job but the first.
    """

    _SECONDS_BETWEEN_LINES = 20.0

    def __init__(self, *, is_silent: bool = False) -> None:
        self.stop = StopRequest()
        """Made by SIGTERM."""
        self._console = Console(stderr=True, highlight=False, quiet=is_silent)
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._started = self._last_line = time.perf_counter()
        self._first_done: int | None = None  # more than the first, where a training goes on

    def __enter__(self) -> Terminal:
        if threading.current_thread() is threading.main_thread():  # others cannot be signalled
            self._handler_before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler_before)
        self._close_bar()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.stop.make()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def stage(self, name: str, note: str) -> None:
        self._close_bar()
        self._name = name
        self._started = self._last_line = time.perf_counter()
        self._first_done = None
        self.say(f"{name}: {note}")

    def progress(self, progress: Progress) -> None:
        if self._first_done is None or progress.done < self._first_done:
            self._first_done = progress.done - 1
        rate = (progress.done - self._first_done) / (time.perf_counter() - self._started)
        note = _note(progress, rate)
        if self._console.is_terminal:
            self._move_bar(progress, note)
        elif time.perf_counter() - self._last_line > self._SECONDS_BETWEEN_LINES:
            self._last_line = time.perf_counter()
            counts = f"{progress.done} of {progress.total} {progress.unit}"
            self.say(f"  {self._name}: {counts}, {note}, {(progress.total - progress.done) / rate:.0f} s left")

    def _move_bar(self, progress: Progress, note: str) -> None:
        if self._bars is None:
            self._bars = Bars(
                TextColumn("  {task.completed}/{task.total} {task.fields[unit]}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bars.add_task("", total=progress.total, unit=progress.unit, note="")
            self._bars.start()
        assert self._task is not None
        self._bars.update(self._task, completed=progress.done, note=note)

    def _close_bar(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def print_results(results: dict[str, Any], *, as_json: bool) -> None:
    """Write results to stdout, as JSON or as indented lines."""
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        _print_lines(results, "")
    sys.stdout.flush()


def _print_lines(values: dict[str, Any], indent: str) -> None:
    for name, value in values.items():
        label = f"{indent}{str(name).replace('_', ' ')}:"
        if isinstance(value, dict):
            print(label)
            _print_lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print(label)
            for entry in value:
                print(
                    f"{indent}  " + ", ".join(f"{key.replace('_', ' ')} {_plain(item)}" for key, item in entry.items())
                )
        else:
            print(f"{label} {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        return " x ".join(str(item) for item in value)
    return str(value)


def _note(progress: Progress, rate: float) -> str:
    parts = []
    metrics = progress.metrics
    if "loss" in metrics:
        parts.append(f"loss {metrics['loss']:.4g}")
    if "images_per_second" in metrics:
        parts.append(f"{metrics['images_per_second']:.0f} images/s")
    else:
        parts.append(f"{_plain(rate)} {progress.unit}/s")
    return ", ".join(parts)
