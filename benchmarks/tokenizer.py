"""Speed and memory of the tokenizer against a plain port and against vector-quantize-pytorch's quantizer.

    python benchmarks/tokenizer.py train --preset port         # the public ports' widths, 256x256
    python benchmarks/tokenizer.py train --preset imagenet256  # the paper's, 256x256
    python benchmarks/tokenizer.py train --preset ffhq1024     # the paper's, 1024x1024, three levels
    python benchmarks/tokenizer.py profile --preset port       # what one training step consists of
    python benchmarks/tokenizer.py encode --preset imagenet256
    python benchmarks/tokenizer.py quantizer

Every contender runs in a process of its own, in turn, several rounds; printed are medians over all rounds, and ratios
to the first. Images lie ready on the device; with `--loading`, both read bytes from memory in each step. A training
step of ours is the whole of it: bytes to floats, loss, gradient, clipping, AdamW, codebooks, average of the weights;
the port gets floats, and neither clips nor averages. Memory is the peak above what the process held before it built the
model: of the process on a CPU, of the allocator on a GPU.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from plain import OneHotQuantizer, PlainVQVAE2, library_quantizer
from timing import print_profile, profile, step_seconds
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from vqvae2 import PRESETS, VQVAE2, EMAConfig, VQVAE2Config, choose_runtime
from vqvae2.config import TokenizerTrainingConfig
from vqvae2.data import ImageStore
from vqvae2.images import from_pixels
from vqvae2.nn.quantizers import build_quantizer
from vqvae2.training.image_batches import ImageBatch
from vqvae2.training.optimization import Optimization
from vqvae2.training.steps import load_steps
from vqvae2.training.task import NUM_CHANCES
from vqvae2.training.tokenizer import TokenizerTask

_CONFIGS = {
    "port": (VQVAE2Config(residual_channels=32, preview_weight=0.0), 256),
    "imagenet256": (PRESETS["imagenet256"].tokenizer, 256),
    "ffhq1024": (PRESETS["ffhq1024"].tokenizer, 1024),
}
_CONTENDERS = ["plain port", "plain port, library's quantizer", "ours, float32", "ours, bfloat16"]
# On a GPU, a compiled step is also one CUDA graph.
_COMPILED = ["ours, float32, compiled", "ours, bfloat16, compiled"]
_ON_GPU = "ours, bfloat16, compiled, cudnn.benchmark"
# Dense bfloat16, in TFLOP/s, as NVIDIA gives them.
_PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}


def make_step(arguments: argparse.Namespace) -> Callable[[], object]:
    """Build one contender; what it returns does one step, or encodes one batch."""
    config, size = _CONFIGS[arguments.preset]
    device = torch.device(arguments.device)
    pixels = np.random.default_rng(0).integers(0, 256, (arguments.batch_size, size, size, 3), dtype=np.uint8)
    if arguments.contender.startswith("plain"):
        return _plain_step(arguments, config, pixels, device)
    runtime = choose_runtime(
        arguments.device,
        "float32" if "float32" in arguments.contender else "bfloat16",
        compile="compiled" in arguments.contender,
    )
    torch.backends.cudnn.benchmark = "cudnn.benchmark" in arguments.contender
    count = len(pixels)
    held_out, labels = np.zeros(count, dtype=bool), np.full(count, -1)
    names = tuple(map(str, range(count)))
    shape = {"size": (size, size), "channels": 3, "bit_depth": 8}
    images = ImageStore(pixels=pixels, names=names, labels=labels, classes=(), is_validation=held_out, **shape)
    training = TokenizerTrainingConfig(batch_size=count, learning_rate=3e-4)
    task = TokenizerTask(config, images, training)
    indices = list(range(count))
    if arguments.what == "encode":
        return _encoding(task.model.to(device).eval(), task, indices, device)
    optimization = Optimization(task, task.model, training, runtime)
    if arguments.loading:
        steps = load_steps(task, training, pin_memory=device.type == "cuda")
        return lambda: optimization.step(next(steps).batches)
    ready = ImageBatch(*(tensor.to(device) for tensor in task.load(indices, torch.zeros(count, NUM_CHANCES))))
    return lambda: optimization.step([ready])


def _encoding(model: VQVAE2, task: TokenizerTask, indices: list[int], device: torch.device) -> Callable[[], object]:
    def encode() -> object:
        with torch.inference_mode():
            return model.encode(
                from_pixels(task.load(indices, torch.zeros(len(indices), NUM_CHANCES)).pixels.to(device))
            )

    return encode


def _plain_step(
    arguments: argparse.Namespace, config: VQVAE2Config, pixels: np.ndarray, device: torch.device
) -> Callable[[], object]:
    quantizer = library_quantizer if "library" in arguments.contender else OneHotQuantizer
    model = PlainVQVAE2(config.strides, residual=config.residual_channels, make_quantizer=quantizer).to(device).train()

    def load() -> torch.Tensor:
        order = np.random.default_rng(0).permutation(len(pixels))
        return torch.from_numpy(pixels[order]).to(device).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1.0

    ready = load()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)

    def step() -> None:
        images = load() if arguments.loading else ready
        reconstruction, _, commitment = model(images)
        loss = functional.mse_loss(reconstruction, images) + 0.25 * commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def encode() -> object:
        with torch.inference_mode():
            return model.encode(ready)

    if arguments.what == "encode":
        model.eval()
        return encode
    return step


def make_quantizer_step(arguments: argparse.Namespace) -> Callable[[], object]:
    """Build a quantizer's forward pass and EMA step, without gradients, on 32,768 vectors; K = 512, D = 64."""
    device = torch.device(arguments.device)
    features = torch.randn(8, 64, 64, 64, device=device)
    if arguments.contender == "ours":
        ours = build_quantizer(EMAConfig()).to(device).train()
        features = features.contiguous(memory_format=torch.channels_last)
        ours.initialize(features)

        def step() -> None:
            with torch.no_grad():
                ours(features)
            ours.update()

        return step
    make = library_quantizer if "library" in arguments.contender else OneHotQuantizer
    plain: nn.Module = make(512, 64).to(device).train()
    vectors = features.permute(0, 2, 3, 1).contiguous()

    def plain_step() -> None:
        with torch.no_grad():
            plain(vectors)

    return plain_step


def work(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time one contender, in this process."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    on_gpu = arguments.device == "cuda"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = (make_quantizer_step if arguments.what == "quantizer" else make_step)(arguments)
    for _ in range(arguments.warmup):
        step()
    if arguments.what == "profile":
        return profile(step, on_gpu=on_gpu)
    times = step_seconds(step, arguments.steps, on_gpu=on_gpu)
    peak = (
        torch.cuda.max_memory_allocated() / 2**20
        if on_gpu
        else (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    )
    result = {"seconds": statistics.median(times), "memory_mib": peak}
    if on_gpu and arguments.what == "train" and "compiled" not in arguments.contender:
        with FlopCounterMode(display=False) as counter:
            step()
        result["tflop"] = counter.get_total_flops() / 1e12
    return result


def compare(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time all contenders in turn, each time in a fresh process."""
    if arguments.what == "quantizer":
        contenders = ["plain port", "library", "ours"]
    elif arguments.what == "encode":
        contenders = _CONTENDERS[:-1]  # ours encodes in float32 only
    elif arguments.what == "profile":
        contenders, arguments.rounds = [_CONTENDERS[0], *_CONTENDERS[2:]], 1
    else:
        compiled = [*_COMPILED, *([_ON_GPU] if arguments.device == "cuda" else [])]
        contenders = [*_CONTENDERS, *(compiled if arguments.compile else [])]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name in contenders:
            command = [sys.executable, __file__, *sys.argv[1:], "--contender", name, "--device", arguments.device]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for name, rounds in results.items():
        row: dict[str, Any] = {
            key: value if isinstance(value, list) else statistics.median(one[key] for one in rounds)
            for key, value in rounds[0].items()
            if all(key in one for one in rounds)
        }
        row |= {"contender": name, "rounds": [one["seconds"] for one in rounds]}
        rows.append(row)
    return rows


def print_table(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print medians and ratios as a table."""
    first = rows[0]
    if arguments.what == "quantizer":
        print("| quantizer | milliseconds | times the plain port | memory, MiB |\n|---|---|---|---|")
        for row in rows:
            ratio = first["seconds"] / row["seconds"]
            print(f"| {row['contender']} | {1e3 * row['seconds']:.1f} | {ratio:.2f} | {row['memory_mib']:.0f} |")
        return
    if arguments.what == "profile":
        for row in rows:
            print_profile(row["contender"], row)
        return
    print(f"| {arguments.what}, {arguments.preset}, batch {arguments.batch_size} | images/s | times | memory, MiB |")
    print("|---|---|---|---|")
    peak = next((value for name, value in _PEAKS.items() if name in describe_machine()), None)
    for row in rows:
        share, of_plain = "", row["contender"].partition(", compiled")[0]
        tflop = next((other["tflop"] for other in rows if other["contender"] == of_plain and "tflop" in other), None)
        if tflop is not None and peak is not None:
            rate = tflop / row["seconds"]
            share = f", {rate:.0f} TFLOP/s, {100 * rate / peak:.0f} % of the bfloat16 peak"
        rate, ratio = arguments.batch_size / row["seconds"], first["seconds"] / row["seconds"]
        print(f"| {row['contender']}{share} | {rate:.2f} | {ratio:.2f} | {row['memory_mib']:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "profile", "encode", "quantizer"])
    parser.add_argument("--preset", choices=list(_CONFIGS), default="port")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--loading", action="store_true", help="read the images from memory in each training step")
    parser.add_argument("--compile", action="store_true", help="also time a compiled step")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON to add the results to")
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(work(arguments)))
        return
    rows = compare(arguments)
    torch.set_num_threads(arguments.threads)
    print(describe_machine())
    print_table(arguments, rows)
    if arguments.out is not None:
        results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        name = arguments.what if arguments.what == "quantizer" else f"{arguments.what} {arguments.preset}"
        results[f"{name}, {arguments.device}"] = {"machine": describe_machine(), "rows": rows}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
