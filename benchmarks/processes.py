"""How much faster several processes train than one: images a second of the same global batch.

    python benchmarks/processes.py --processes 1 2 --out docs/measurements/processes.json

Each process has one thread, on a CPU, or one GPU. A step is all of it: gradients and their exchange, clipping, AdamW,
codebooks, the average of the weights. Efficiency is the speed over that of one process times their number. Cores of a
CPU share caches and memory; what that takes is shown by as many processes that are each for itself, and exchange
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from steps import prior_step, tokenizer_step
from timing import step_seconds

from vqvae2.config import PriorTrainingConfig, TrainingConfig
from vqvae2.config.presets import find_preset
from vqvae2.system.processes import first_decides, is_first_process, process_index
from vqvae2.training.optimization import Optimization
from vqvae2.training.runtime import choose_runtime, leave_processes
from vqvae2.training.task import Runtime, Task


def measure(arguments: argparse.Namespace, *, count: int, is_alone: bool) -> dict[str, float]:
    """Start `count` processes, and give the median seconds of a step of each kind of training."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        out = Path(folder) / "seconds.json"
        command = [sys.executable, __file__, "--worker", str(out), "--preset", arguments.preset]
        command += [
            f"--batch-size={arguments.batch_size}",
            f"--steps={arguments.steps}",
            f"--device={arguments.device}",
        ]
        command += ["--shares", str(count), *(["--shard"] if arguments.shard else [])]
        processes = []
        for rank in range(count):
            together = {"WORLD_SIZE": count, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            variables = {} if is_alone else together | {"RANK": rank}
            environment = os.environ | {"OMP_NUM_THREADS": "1"} | {name: str(v) for name, v in variables.items()}
            processes.append(subprocess.Popen(command, env=environment))
        if any(process.wait() for process in processes):
            raise SystemExit("a process failed")
        seconds: dict[str, float] = json.loads(out.read_text())
        return seconds


def work(arguments: argparse.Namespace) -> None:
    """Be one of the processes: time steps on this one's share of the batch."""
    runtime = choose_runtime(arguments.device, shard=arguments.shard)
    config, share = find_preset(arguments.preset), arguments.batch_size // arguments.shares
    bottom = config.tokenizer.num_levels - 1
    kinds = {
        "tokenizer": (*tokenizer_step(config, share, seed=process_index()), config.tokenizer_training),
        "bottom prior": (*prior_step(config, bottom, share), PriorTrainingConfig()),
    }
    seconds = {kind: _time(*parts, arguments, runtime) for kind, parts in kinds.items()}
    if is_first_process():
        arguments.worker.write_text(json.dumps(seconds))
    leave_processes()


def _time(task: Task, batch: Any, training: TrainingConfig, arguments: argparse.Namespace, runtime: Runtime) -> float:
    optimization = Optimization(task, task.model, training, runtime)
    step = partial(optimization.step, [batch])
    times = step_seconds(step, arguments.steps + 2, on_gpu=runtime.device.type == "cuda")
    return first_decides(lambda: statistics.median(times[2:]))


def main() -> None:
    """Parse, measure in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--preset", default="cpu64")
    parser.add_argument("--batch-size", type=int, default=32, help="of all processes together")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shard", action="store_true", help="divide the prior's weights (FSDP)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shares", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        torch.set_num_threads(1)
        work(arguments)
        return
    ways = [
        (count, is_alone) for count in arguments.processes for is_alone in (False, True) if count > 1 or not is_alone
    ]
    found: dict[tuple[int, bool], list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for count, is_alone in ways:
            found[count, is_alone].append(measure(arguments, count=count, is_alone=is_alone))
    rows = []
    print("| training | processes | step, s | images/s | times one process | efficiency |\n|---|---|---|---|---|---|")
    for kind in found[ways[0]][0]:
        one = statistics.median(row[kind] for row in found[ways[0]])
        for count, is_alone in ways:
            seconds = statistics.median(row[kind] for row in found[count, is_alone])
            speed = one / seconds
            name = f"{count}, each for itself" if is_alone else str(count)
            images = arguments.batch_size / seconds
            print(f"| {kind} | {name} | {seconds:.4f} | {images:.1f} | {speed:.2f} | {100 * speed / count:.0f} % |")
            rows.append({"training": kind, "processes": name, "step_seconds": seconds, "images_per_second": images})
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
