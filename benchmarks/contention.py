"""How a training fares beside other processes: the time of a step, and whether a run ends in the time that was asked.

    git worktree add ../before REVISION
    python benchmarks/contention.py steps --baseline ../before --out docs/measurements/contention.json
    python benchmarks/contention.py runs --minutes 5 --baseline ../before --out docs/measurements/contention.json

`steps` trains the tokenizer of `cpu64` on the built-in images for some seconds, alone and beside one or two processes
that do nothing but compute, and gives the median time of a step once the training has had time to notice. `runs` times
`vqvae2 demo`, idle, and with one such process in its first or in its second half.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from machine import describe_machine

from vqvae2 import PRESETS, choose_runtime
from vqvae2.config import BUILTIN_GROUP_PATTERN, ImageConfig
from vqvae2.data import BuiltinImages, open_prepared, prepare_images
from vqvae2.errors import StopRequested
from vqvae2.system.stopping import StopRequest
from vqvae2.training.loop import fit
from vqvae2.training.tokenizer import TokenizerTask

BUSY = "while True: pass"
LOADS = ("idle", "busy first", "busy then")


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many processes at work."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def environment(source: Path) -> dict[str, str]:
    """Give the environment of a command that runs the package of a work tree."""
    return os.environ | {"PYTHONPATH": str(source / "src")}


def train(images: Path, seconds: float) -> None:
    """Train for some seconds, in a process of its own, and print the median seconds of the last third of the steps."""
    stop, ends = StopRequest(), [time.perf_counter()]

    def note(_: object) -> None:
        ends.append(time.perf_counter())
        if ends[-1] - ends[0] > seconds:
            stop.make()

    preset = PRESETS["cpu64"]
    training = replace(preset.tokenizer_training, steps=1_000_000, checkpoint_seconds=1e6)
    task = TokenizerTask(preset.tokenizer, open_prepared(images), training)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(task, training, Path(folder), runtime=choose_runtime("cpu", stop=stop), on_progress=note)
        except StopRequested:
            times = [end - start for start, end in pairwise(ends)]
            print(statistics.median(times[-max(3, len(times) // 3) :]))


def measure_steps(sources: dict[str, Path], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Time steps beside none, one and two busy processes, in turn."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        prepare_images(BuiltinImages(), images, ImageConfig(group_pattern=BUILTIN_GROUP_PATTERN))
        for _ in range(rounds):
            for count in (0, 1, 2):
                for name, source in sources.items():
                    command = [sys.executable, __file__, "train", "--images", str(images), "--seconds", str(seconds)]
                    with busy(count):
                        done = subprocess.run(command, env=environment(source), stdout=subprocess.PIPE, check=True)
                    rows.append({"package": name, "busy_processes": count, "step_seconds": float(done.stdout)})
                    print(json.dumps(rows[-1]), flush=True)
    return rows


def measure_runs(sources: dict[str, Path], minutes: float) -> list[dict[str, Any]]:
    """Time whole runs whose machine gets or loses another busy process in their middle."""
    rows = []
    for load in LOADS:
        for name, source in sources.items():
            with tempfile.TemporaryDirectory() as folder:
                out = str(Path(folder) / "run")
                command = [sys.executable, "-m", "vqvae2", "demo", "--out", out, "--minutes", str(minutes)]
                start = time.perf_counter()
                process = subprocess.Popen(command, env=environment(source), stdout=subprocess.DEVNULL)
                halves = {"idle": (0, 0), "busy first": (1, 0), "busy then": (0, 1)}[load]
                with busy(halves[0]), suppress(subprocess.TimeoutExpired):
                    process.wait(30.0 * minutes)
                with busy(halves[1]):
                    process.wait()
                taken = (time.perf_counter() - start) / 60.0
            rows.append({"package": name, "load": load, "asked_minutes": minutes, "taken_minutes": taken})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def print_table(results: dict[str, Any]) -> None:
    """Print both tables, as far as they were measured."""
    if "steps" in results:
        print("| package | busy processes | seconds a step, median | times idle |\n|---|---|---|---|")
        found: dict[tuple[str, int], list[float]] = {}
        for row in results["steps"]["rows"]:
            found.setdefault((row["package"], row["busy_processes"]), []).append(row["step_seconds"])
        for (name, count), times in sorted(found.items()):
            seconds, idle = statistics.median(times), statistics.median(found[name, 0])
            print(f"| {name} | {count} | {seconds:.3f} | {seconds / idle:.2f} |")
    if "runs" in results:
        print("| package | load | minutes asked | taken |\n|---|---|---|---|")
        for row in results["runs"]["rows"]:
            print(f"| {row['package']} | {row['load']} | {row['asked_minutes']:g} | {row['taken_minutes']:.2f} |")


def main() -> None:
    """Measure, print tables, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "runs", "train"))
    parser.add_argument("--baseline", type=Path, help="work tree of another commit, measured too")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each training of `steps`")
    parser.add_argument("--rounds", type=int, default=3, help="of `steps`")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each of `runs`")
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON to write; what it has of the other measurement is kept")
    arguments = parser.parse_args()
    if arguments.what == "train":
        train(arguments.images, arguments.seconds)
        return
    sources = {"now": Path(__file__).absolute().parents[1]}
    if arguments.baseline is not None:
        sources["before"] = arguments.baseline.absolute()
    out = arguments.out
    results = json.loads(out.read_text()) if out is not None and out.exists() else {}
    if arguments.what == "steps":
        rows = measure_steps(sources, arguments.seconds, arguments.rounds)
    else:
        rows = measure_runs(sources, arguments.minutes)
    results[arguments.what] = {"machine": describe_machine(), "rows": rows}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n")
    print_table(results)


if __name__ == "__main__":
    main()
