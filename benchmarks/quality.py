"""Validation error against wall-clock: this package, and a plain port with both starts of its codebook.

    python benchmarks/quality.py --minutes 10 --out docs/measurements/quality.json --plot docs/images/quality.svg

All three see the same images and the same split, with the same number of code bits: the built-in set at 64x64 pixels,
512 codes on 8x8 and on 16x16. Errors are over all validation images, clamped to [-1, 1] as when they are saved.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from matplotlib import rc_context
from matplotlib.figure import Figure
from plain import PlainVQVAE2
from torch.nn import functional

from vqvae2 import PRESETS, ImageConfig, VQVAE2Config, choose_runtime
from vqvae2.config import BUILTIN_GROUP_PATTERN
from vqvae2.data import BuiltinImages, ImageStore, prepare_images
from vqvae2.images import from_pixels
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.metrics.distortion import ReconstructionError
from vqvae2.training.loop import fit
from vqvae2.training.plan import plan_steps
from vqvae2.training.tokenizer import TokenizerTask


def train_plain(
    images: ImageStore, *, minutes: float, validations: int, tiny: bool, correct_start: bool, seed: int
) -> dict[str, Any]:
    """Train the plain port: Adam at 3e-4, batches of 64. Time spent validating is not counted."""
    torch.manual_seed(seed)
    model = (PlainVQVAE2(hidden=8, residual=4) if tiny else PlainVQVAE2()).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    train = images.indices("train")
    order = np.random.default_rng(seed)
    if correct_start:
        model.start_from(from_pixels(torch.from_numpy(images.pixels[order.permutation(train)[:256]])).contiguous())
    seconds, steps, curve = 0.0, 0, []
    while seconds < 60.0 * minutes:
        begun = time.perf_counter()
        batch = torch.from_numpy(images.pixels[order.choice(train, 64, replace=False)])
        original = from_pixels(batch).contiguous()
        reconstruction, _, commitment = model(original)
        loss = functional.mse_loss(reconstruction, original) + 0.25 * commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds += time.perf_counter() - begun
        steps += 1
        if seconds >= 60.0 * minutes * (len(curve) + 1) / validations:
            curve.append({"seconds": seconds, "step": steps} | measure_plain(model, images))
            print(json.dumps(curve[-1]), flush=True)
    return {"curve": curve, "steps": steps, "batch_size": 64}


@torch.inference_mode()
def measure_plain(model: PlainVQVAE2, images: ImageStore) -> dict[str, float]:
    """Measure the plain port on all validation images."""
    model.eval()
    error, usages = ReconstructionError(), [CodebookUsage(512), CodebookUsage(512)]
    for indices in np.array_split(images.indices("validation"), 4):
        original = from_pixels(torch.from_numpy(images.pixels[indices])).contiguous()
        reconstruction, codes, _ = model(original)
        error.update(reconstruction, original)
        for usage, level in zip(usages, reversed(codes), strict=True):
            usage.update(level)
    model.train()
    return {"mse": error.mse} | {f"codes_in_use_{level}": 512 - usage.dead_codes for level, usage in enumerate(usages)}


def train_ours(
    images: ImageStore, *, minutes: float, validations: int, tiny: bool, seed: int, directory: Path
) -> dict[str, Any]:
    """Train with the paper's widths and the port's number of codes. Time spent timing and validating is counted."""
    start = time.perf_counter()
    preset = PRESETS["cpu64"]
    config = VQVAE2Config(hidden_channels=8, residual_channels=4) if tiny else VQVAE2Config()
    training = replace(preset.tokenizer_training, seed=seed, max_validations=validations)
    runtime = choose_runtime("cpu")
    task = TokenizerTask(config, images, training)
    plan = plan_steps(task, training, runtime=runtime, seconds=60.0 * minutes)
    before = time.perf_counter() - start
    steps = fit(task, training, directory, runtime=runtime, plan=plan).last_step
    curve = []
    for line in (directory / "log.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "validation_mse" in row:
            in_use = {f"codes_in_use_{level}": 512 - row[f"validation_dead_codes_{level}"] for level in (0, 1)}
            curve.append(
                {"seconds": before + row["seconds"], "step": row["step"], "mse": row["validation_mse"]} | in_use
            )
            print(json.dumps(curve[-1]), flush=True)
    return {"curve": curve, "steps": steps, "batch_size": training.batch_size}


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw all curves into an SVG file."""
    labels = {
        "ours": "vqvae2",
        "plain": "plain port, codes from encoder outputs",
        "plain-zero-start": "plain port, its own start",
    }
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, label in labels.items():
        if name in results:
            curve = results[name]["curve"]
            minutes = [point["seconds"] / 60.0 for point in curve]
            axes.plot(minutes, [point["mse"] for point in curve], marker="o", markersize=3, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("minutes of training, two CPU cores")
    axes.set_ylabel("validation MSE, in [-1, 1]")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    with rc_context({"svg.hashsalt": "quality"}):  # the same curves give the same file
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each of the three")
    parser.add_argument("--validations", type=int, default=20, help="points of each curve")
    parser.add_argument("--tiny", action="store_true", help="narrow networks, to try this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["ours", "plain", "plain-zero-start"], help="only this one")
    parser.add_argument("--out", type=Path, help="JSON to write; results that it has of others are kept")
    parser.add_argument("--plot", type=Path, help="SVG to draw the curves into")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        images = prepare_images(
            BuiltinImages(), Path(scratch) / "images", ImageConfig(group_pattern=BUILTIN_GROUP_PATTERN)
        )
        options = {"minutes": arguments.minutes, "validations": arguments.validations, "seed": arguments.seed}
        options["tiny"] = arguments.tiny
        recipes = {
            "ours": lambda: train_ours(images, directory=Path(scratch) / "run", **options),
            "plain": lambda: train_plain(images, correct_start=True, **options),
            "plain-zero-start": lambda: train_plain(images, correct_start=False, **options),
        }
        out = arguments.out
        results = json.loads(out.read_text()) if out is not None and out.exists() else {}
        for name in [arguments.only] if arguments.only else recipes:
            print(name, flush=True)
            results[name] = recipes[name]() | {"minutes": arguments.minutes, "machine": describe_machine()}
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(results, indent=1))
    if arguments.plot is not None:
        plot(results, arguments.plot)
    print("| | validation MSE | codes in use, top / bottom | steps |")
    print("|---|---|---|---|")
    for name, result in results.items():
        end = result["curve"][-1]
        print(f"| {name} | {end['mse']:.4f} | {end['codes_in_use_0']} / {end['codes_in_use_1']} | {result['steps']} |")


if __name__ == "__main__":
    main()
