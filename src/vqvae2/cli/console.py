"""What the command shows and hears: results on stdout, progress and messages on stderr, and SIGTERM."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vqvae2.config import Config
from vqvae2.system.progress import Listener, Progress
from vqvae2.system.stopping import StopRequest

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["Terminal", "print_results"]

_LONGEST_LINE = 120
_ONLY_IN_JSON = ("magic", "version", "config", "pictures", "protocol", "versions", "machine")  # of measured results


class Terminal(Listener):
    """Shows the stages of a run, and a bar for each long one.

    If stderr is not a terminal, it prints a line from time to time instead of moving a bar.

    Args:
        is_silent: Show nothing, as all processes of a job do except for the first.
    """

    _SECONDS_BETWEEN_LINES = 20.0

    def __init__(self, *, is_silent: bool = False) -> None:
        from rich.console import Console

        self.stop = StopRequest()
        """Made by SIGTERM."""
        self._console = Console(stderr=True, highlight=False, quiet=is_silent)
        self._bars: Bars | None = None
        self._name = ""
        self._started = self._last_line = time.perf_counter()
        self._first_done: int | None = None  # more than 0 if a training resumes

    def __enter__(self) -> Terminal:
        if threading.current_thread() is threading.main_thread():  # others cannot be signalled
            self._handler_before = signal.signal(signal.SIGTERM, lambda *_: self.stop.make())
        return self

    def __exit__(self, *error: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler_before)
        self._close_bar()

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
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        if self._bars is None:
            self._bars = Bars(
                TextColumn("  {task.completed}/{task.total} {task.fields[unit]}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bars.add_task("", total=progress.total, unit=progress.unit, note="")
            self._bars.start()
        self._bars.update(self._bars.task_ids[0], completed=progress.done, note=note)

    def _close_bar(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def _note(progress: Progress, rate: float) -> str:
    metrics = progress.metrics
    loss = f"loss {metrics['loss']:.4g}, " if "loss" in metrics else ""
    images = metrics.get("images_per_second")
    return loss + (f"{_plain(rate)} {progress.unit}/s" if images is None else f"{images:.0f} images/s")


def print_results(results: Mapping[str, object] | Config, *, as_json: bool) -> None:
    """Write results to stdout, as JSON or as indented lines."""
    values = results.to_dict() if isinstance(results, Config) else results
    if as_json:
        print(json.dumps(values, indent=2, default=str))  # `default` is for paths
    else:
        _print_lines(_without_circumstances(values) if "magic" in values else values, "")
    sys.stdout.flush()


def _without_circumstances(results: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of measured results, at any depth, what only `--json` prints."""
    return {
        name: _without_circumstances(value) if isinstance(value, Mapping) else value
        for name, value in results.items()
        if name not in _ONLY_IN_JSON
    }


def _print_lines(values: Mapping[str, Any], indent: str) -> None:
    """Print a line for each value; entries of a list that are nested or too long for a line become blocks."""
    for name, value in values.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            print(f"{indent}{_words(name)}:")
            for number, entry in enumerate(value):
                line = f"{indent}  " + ", ".join(f"{_words(key)} {_plain(item, key)}" for key, item in entry.items())
                if len(line) > _LONGEST_LINE or any(isinstance(item, Mapping) for item in entry.values()):
                    _print_lines({str(number): entry}, f"{indent}  ")
                else:
                    print(line)
        elif isinstance(value, Mapping) and value:
            print(f"{indent}{_words(name)}:")
            _print_lines(value, f"{indent}  ")
        else:
            print(f"{indent}{_words(name)}: {_plain(value, name)}")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: Any, name: str = "") -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    if isinstance(value, list | tuple):
        separator = " x " if name.endswith(("size", "shape")) else ", "
        return separator.join(_plain(item, name.removesuffix("s")) for item in value) or "none"
    return "none" if value is None or value == {} else str(value)
