"""Kill the command again and again, at random moments and while it writes every kind of file, and let it resume.

    python scripts/soak.py --kills 20                    # at toy size, in a minute or two
    python scripts/soak.py --kills 200 --processes 2 --out soak

A run and a drawing of samples happen once without interruption, and then again until they survived as many SIGKILLs.
Models, codes and images must have the same bits; else the script names the files that differ and exits with 1. Of
several processes, sometimes all are killed and sometimes one, as when a machine is lost.

Starting a process takes seconds, nearly all of them for imports. So one process imports everything, and forks those
that are killed (`python scripts/soak.py --serve`).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

TOY = [
    *("--device=cpu", "--precision=float32", "--minutes=0", "--num-samples=4"),
    *("--images.size", "16", "16", "--tokenizer.strides", "2", "2", "--tokenizer.hidden-channels=8"),
    *("--tokenizer.residual-channels=4", "--tokenizer.residual-layers=1", "--tokenizer.quantizer.num-embeddings=12"),
    *("--tokenizer.quantizer.embedding-dim=4", "--tokenizer-training.batch-size=8"),
    *("--tokenizer-training.horizontal-flips", "--tokenizer-training.checkpoint-seconds=0"),
    *(f"--priors.{level}.hidden-channels=8" for level in (0, 1)),
    *(f"--priors.{level}.num-layers=2" for level in (0, 1)),
    *(f"--priors.{level}.num-heads=2" for level in (0, 1)),
    *(f"--prior-trainings.{level}.batch-size=8" for level in (0, 1)),
    *(f"--prior-trainings.{level}.checkpoint-seconds=0" for level in (0, 1)),
]
# Files that exist only while something is written: the moments at which a kill could do harm.
_WRITING = {
    "run": (
        "tokenizer/states/.*",
        "tokenizer/.*",
        "prior-*/states/.*",
        "prior-*/.*",
        ".codes.partial",
        ".images.partial/images.npy",
    ),
    "sample": ("000003.png", ".samples.json.*"),
}
_IMPORTED = (
    *("accelerate", "matplotlib.figure", "torch.distributed.tensor", "torchmetrics"),
    *("vqvae2.cli.sample", "vqvae2.pipeline.sample_streams", "vqvae2.report", "vqvae2.runs.measuring"),
)
"""What the command imports when it needs it."""
_MOST_KILLS = 8  # of one command, which may then end


class Nursery:
    """Starts the command in new processes without waiting for imports."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        logs.mkdir(parents=True)
        # One thread throughout: trainings change their threads beside busy processes, and with them the last bits.
        self._server = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, arguments: list[str], count: int) -> list[int]:
        """Start the command in `count` processes that work together; return their numbers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        pids = []
        for rank in range(count):
            variables = common | {"RANK": rank, "LOCAL_RANK": rank}
            environment = {name: str(value) for name, value in variables.items()}
            log = str(self._logs / f"{rank}.log")
            pids.append(self._ask({"arguments": arguments, "environment": environment, "log": log}))
        return pids

    def wait(self, pid: int) -> int:
        """Wait for a process; return its exit code, or the negative number of the signal that ended it."""
        return self._ask({"wait": pid})

    def log(self, rank: int = 0) -> str:
        """Return what a process of the last command has said."""
        return (self._logs / f"{rank}.log").read_text()

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


class Commands:
    """The two commands whose results must not change, and the folder of their results."""

    def __init__(self, images: Path, folder: Path, steps: int) -> None:
        self.folder = folder
        run = ["run", str(images), "--out", str(folder / "run"), *TOY, f"--tokenizer-training.steps={steps}"]
        run += [f"--prior-trainings.{level}.steps={steps // 2}" for level in (0, 1)]
        sample = ["sample", str(folder / "run"), "--out", str(folder / "samples"), "--device=cpu"]
        sample += ["--num-images=24", "--batch-size=2"]
        self.all = {"run": run, "sample": sample}

    def results(self) -> dict[str, str]:
        """Hash everything that must be reproduced."""
        files = [
            path for name in ("*/model.safetensors", "*/last.safetensors") for path in self.folder.glob(f"run/{name}")
        ]
        files += [*self.folder.glob("run/codes/*"), *self.folder.glob("samples/*.png")]
        return {
            str(path.relative_to(self.folder)): hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
            for path in sorted(files)
        }


class Soak:
    """The kills so far, and how they are done.

    Args:
        arguments: Of the command line.
        out: Folder to work in.
    """

    def __init__(self, arguments: argparse.Namespace, out: Path) -> None:
        self._arguments, self._out = arguments, out
        self._nursery, self._chance = Nursery(out / "logs"), random.Random(arguments.seed)
        self._kills, self._stages = 0, Counter[str]()

    def run(self) -> int:
        """Kill and resume until there are enough kills; return the exit code."""
        images, steps = self._out / "images", self._arguments.steps
        _draw_images(images)
        whole = Commands(images, self._out / "whole", steps)
        seconds = {name: self._complete(command) for name, command in whole.all.items()}
        expected = whole.results()
        print(f"uninterrupted: {', '.join(f'{name} {taken:.1f} s' for name, taken in seconds.items())}", flush=True)
        cycles = 0
        while self._kills < self._arguments.kills:
            parts = Commands(images, self._out / "parts", steps)
            for name, command in parts.all.items():
                for _ in range(min(_MOST_KILLS, self._arguments.kills - self._kills)):
                    sign = self._chance.choice((None, *_WRITING[name]))
                    if not self._kill(command, parts.folder, sign, self._chance.uniform(0.0, seconds[name])):
                        break
                self._complete(command)
            cycles += 1
            found = parts.results()
            differing = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
            if differing:
                print(f"after {self._kills} kills, {len(differing)} files differ: {', '.join(sorted(differing))}")
                return 1
            shutil.rmtree(parts.folder)
        self._nursery.close()
        processes = self._arguments.processes
        print(
            f"{self._kills} kills in {cycles} runs, processes: {processes}; {len(expected)} files the same to the bit"
        )
        for stage, count in sorted(self._stages.items()):
            print(f"  {stage}: {count}")
        return 0

    def _kill(self, command: list[str], folder: Path, sign: str | None, seconds: float) -> bool:
        """Start a command and kill it, after some seconds or once a file appears; False if it ended before."""
        before = _found(folder, sign)
        pids = self._nursery.start(command, self._arguments.processes)
        end = time.perf_counter() + seconds + (60.0 if sign else 0.0)
        while time.perf_counter() < end and not _found(folder, sign) - before and _is_running(pids[0]):
            time.sleep(0.0005)
        was_running = _is_running(pids[0])
        for pid in pids if self._chance.random() < 0.7 else pids[-1:]:
            os.kill(pid, signal.SIGKILL)
        codes = [self._nursery.wait(pid) for pid in pids]
        if -signal.SIGKILL not in codes or not was_running:
            return False
        lines = self._nursery.log().splitlines()
        said = [line.split(":")[0] for line in lines if ":" in line and not line.startswith(" ")]
        moment = "at a random time" if sign is None else f"when {sign} was there"
        self._stages[f"{said[-1] if said else 'start'}, {moment}"] += 1
        self._kills += 1
        return True

    def _complete(self, command: list[str]) -> float:
        """Let a command end; return its seconds."""
        start = time.perf_counter()
        codes = [self._nursery.wait(pid) for pid in self._nursery.start(command, self._arguments.processes)]
        if any(codes):
            raise SystemExit(f"exit codes {codes} of vqvae2 {' '.join(command)}\n{self._nursery.log()}")
        return time.perf_counter() - start


def _found(folder: Path, sign: str | None) -> set[tuple[Path, int]]:
    """Find the files of a pattern, each with the time at which it was written."""
    try:
        return {(path, path.stat().st_mtime_ns) for path in folder.rglob(sign)} if sign else set()
    except FileNotFoundError:  # a file went away meanwhile
        return set()


def _is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"


def _draw_images(folder: Path) -> None:
    from PIL import Image

    chance = random.Random(0)
    for index in range(40):
        path = folder / ("a", "b")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (16, 16), tuple(chance.randrange(256) for _ in range(3)))
        image.paste(tuple(chance.randrange(256) for _ in range(3)), (4, 4, 12, 8 + index % 8))
        image.save(path)


def serve() -> None:
    """Fork processes that run the command, and wait for them, as lines of JSON on stdin ask."""
    # The command imports these when it needs them; a fork finds them here.
    for name in _IMPORTED:
        importlib.import_module(name)
    from vqvae2.cli.main import main

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _become(main, request)
        print(answer, flush=True)


def _become(main: Any, request: dict[str, Any]) -> None:
    """Run the command in this process, and end it."""
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ |= request["environment"]
        code = main(request["arguments"])
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    """Parse and begin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1, help="that work together")
    parser.add_argument("--steps", type=int, default=30, help="of the tokenizer; priors take half")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, help="new folder to work in, which stays; else a temporary one")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return 0
    if arguments.out is not None:
        return Soak(arguments, arguments.out).run()
    with tempfile.TemporaryDirectory() as folder:
        return Soak(arguments, Path(folder)).run()


if __name__ == "__main__":
    sys.exit(main())
