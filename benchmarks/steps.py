"""What a training step of each model of a preset takes, and what it waits for.

    python benchmarks/steps.py gpu64                       # batches of the preset, on a GPU if there is one
    python benchmarks/steps.py cpu64 --profile             # also the operations, or kernels, of each step
    python benchmarks/steps.py gpu256 --batch-size 2 --device cpu

A step is all of it: gradients, clipping, AdamW, codebooks, the average of the weights. Images and codes are random and
lie ready on the device. The last column compares with the largest rate of a product of two square matrices of the same
precision, measured in the same process. A compiled step is one CUDA graph on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from timing import print_profile, profile, step_seconds
from torch.utils.flop_counter import FlopCounterMode

from vqvae2 import PRESETS, CodeSpace, PriorConfig, RunConfig, choose_runtime
from vqvae2.codes import Codes
from vqvae2.config import TrainingConfig
from vqvae2.data import ImageStore
from vqvae2.models.checkpoint import build_model
from vqvae2.training.optimization import Optimization
from vqvae2.training.prior import CodeBatch, PriorTask
from vqvae2.training.task import NUM_CHANCES, Runtime, Task
from vqvae2.training.tokenizer import TokenizerTask

_WAYS = ("float32", "bfloat16", "bfloat16, compiled")
_WARM_UP_STEPS = 5  # until a compiled step has become a graph
_MATRIX_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}


def tokenizer_step(config: RunConfig, batch_size: int, *, seed: int = 0) -> tuple[Task, Any]:
    """Give the task of a preset's tokenizer, and a batch of random images."""
    generator = np.random.default_rng(seed)
    count = max(256, batch_size)  # the codebooks start from so many
    pixels = generator.integers(0, 256, (count, *config.images.size, config.images.channels), dtype=np.uint8)
    images = ImageStore(
        pixels=pixels,
        names=tuple(map(str, range(count))),
        labels=np.full(count, -1),
        classes=(),
        is_validation=np.zeros(count, dtype=bool),
        size=config.images.size,
        channels=config.images.channels,
        bit_depth=8,
    )
    task = TokenizerTask(config.tokenizer, images, config.tokenizer_training)
    return task, task.load(list(range(batch_size)), torch.zeros(batch_size, NUM_CHANCES))


def prior_step(config: RunConfig, level: int, batch_size: int) -> tuple[Task, Any]:
    """Give the task of the prior of a preset's level, and a batch of random codes."""
    shapes, sizes = config.tokenizer.code_shapes(*config.images.size), config.tokenizer.codebook_sizes
    space = CodeSpace.of_level(level, num_embeddings=sizes, shapes=shapes, num_classes=0)
    task = PriorTask.__new__(PriorTask)  # without a store of codes, which a single batch does not need
    task.model = build_model(PriorConfig(space=space, network=config.prior(level), tokenizer=""))
    known = list(zip(sizes, shapes, strict=True))[: level + 1]
    grids = tuple(torch.randint(size, (batch_size, *shape)) for size, shape in known)
    return task, CodeBatch(Codes(grids), torch.zeros(batch_size, dtype=torch.int64))


@cache
def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Measure products of square matrices, in FLOP/s; the best of some sizes and repetitions."""
    best = 0.0
    for size in _MATRIX_SIZES[device]:
        matrix = torch.randn(size, size, device=device, dtype=dtype)
        times = step_seconds(partial(torch.matmul, matrix, matrix), 8, on_gpu=device == "cuda")
        best = max(best, 2 * size**3 / min(times))
    return best


def measure(
    task: Task, batch: Any, training: TrainingConfig, way: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Time the steps of one model in one way."""
    on_gpu = arguments.device == "cuda"
    runtime = choose_runtime(arguments.device, way.partition(",")[0], compile="compiled" in way)
    flop = count_operations(task, batch, training, runtime)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    optimization = Optimization(task, task.model, training, runtime)
    step = partial(optimization.step, [batch])
    step_seconds(step, _WARM_UP_STEPS, on_gpu=on_gpu)
    seconds = statistics.median(step_seconds(step, arguments.steps, on_gpu=on_gpu))
    dtype = torch.bfloat16 if runtime.bfloat16 else torch.float32
    found = {"seconds": seconds, "flops": flop / seconds, "of_matrices": matrix_rate(arguments.device, dtype)}
    if on_gpu:
        found["memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
    if arguments.profile:
        found["profile"] = profile(step, on_gpu=on_gpu)
    return found


def count_operations(task: Task, batch: Any, training: TrainingConfig, runtime: Runtime) -> int:
    """Count the operations of a step on a copy of the model, neither compiled nor as a graph."""
    optimization = Optimization(task, copy.deepcopy(task.model), training, runtime, is_trial=True)
    with FlopCounterMode(display=False) as counter:
        optimization.step([batch])
    return counter.get_total_flops()


def main() -> None:
    """Time all models of a preset in all ways, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=list(PRESETS))
    parser.add_argument("--batch-size", type=int, help="instead of the preset's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--ways", nargs="+", choices=_WAYS, default=list(_WAYS))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = PRESETS[arguments.preset]
    models = [("tokenizer", config.tokenizer_training, partial(tokenizer_step, config))]
    for level in range(config.tokenizer.num_levels):
        models.append((f"prior {level}", config.prior_training(level), partial(prior_step, config, level)))
    print(describe_machine())
    print(f"| {arguments.preset} | batch | ms a step | images/s | TFLOP/s | of a matrix product |")
    print("|---|---|---|---|---|---|")
    rows = []
    for name, training, make in models:
        size = arguments.batch_size or training.batch_size
        for way in arguments.ways:
            found = measure(*make(size), training, way, arguments)
            rows.append({"model": name, "way": way, "batch_size": size} | found)
            print(
                f"| {name}, {way} | {size} | {1e3 * found['seconds']:.1f} | {size / found['seconds']:.1f} "
                f"| {1e-12 * found['flops']:.2f} | {found['flops'] / found['of_matrices']:.0%} |",
                flush=True,
            )
    for row in rows if arguments.profile else ():
        print_profile(f"{row['model']}, {row['way']}", row["profile"])
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
