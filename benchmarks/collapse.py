"""How many codes are in use at the end of a training, and what each safeguard brings.

    python benchmarks/collapse.py --images fashion-mnist=FOLDER --images photographs=FOLDER --out FILE.json

For the built-in set and each given folder, for 512 and 4,096 codes: the small CPU preset as it is, and with one thing
changed. A code is in use if it occurs among the training images at the end; perplexity is of the same counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine

from vqvae2 import PRESETS, CodebookLossConfig, EMAConfig, FSQConfig, ImageConfig, choose_runtime
from vqvae2.config import BUILTIN_GROUP_PATTERN
from vqvae2.config.presets import choose_preset
from vqvae2.data import (
    BuiltinImages,
    ImageFolder,
    ImageStore,
    evenly_spread,
    prepare_images,
    survey_images,
)
from vqvae2.models.checkpoint import load_model
from vqvae2.training.loop import fit
from vqvae2.training.tokenizer import TokenizerTask, measure_tokenizer

_MOST_IMAGES = 4096  # whose codes are counted at the end
_FSQ_VALUES = {512: (8, 8, 8), 4096: (8, 8, 8, 8)}


def restart_cold(task: TokenizerTask) -> None:
    """Undo the warm start: random vectors, as a fresh quantizer has them, with N = 1."""
    for quantizer in task.model.quantizers:
        codebook = torch.randn_like(quantizer.codebook) / quantizer.embedding_dim**0.5
        quantizer.codebook.copy_(codebook)
        quantizer.average_sum.copy_(codebook)
        quantizer.average_count.fill_(1.0)


def variants(num_embeddings: int) -> dict[str, tuple[Any, Callable[[TokenizerTask], None] | None]]:
    """Give each variant's quantizer, and what is done to it before the first step."""
    default = EMAConfig(num_embeddings=num_embeddings, embedding_dim=32)
    other = "straight-through" if default.gradient == "rotation" else "rotation"
    return {
        "as it is": (default, None),
        "no revival": (replace(default, revival_threshold=0.0), None),
        "no warm start": (default, restart_cold),
        "neither": (replace(default, revival_threshold=0.0), restart_cold),
        f"gradient: {other}": (replace(default, gradient=other), None),
        "codebook loss": (CodebookLossConfig(num_embeddings=num_embeddings, embedding_dim=32), None),
        "finite scalar": (FSQConfig(num_values=_FSQ_VALUES[num_embeddings]), None),
    }


def train(
    images: ImageStore, preset: str, quantizer: Any, prepare: Callable[[TokenizerTask], None] | None, steps: int
) -> dict[str, float]:
    """Train one variant, and measure it."""
    config = replace(PRESETS[preset].tokenizer, in_channels=images.channels, quantizer=quantizer)
    training = replace(PRESETS[preset].tokenizer_training, steps=steps, max_validations=1)
    runtime = choose_runtime("cpu")
    task = TokenizerTask(config, images, training)
    if prepare is not None:
        prepare(task)
    with tempfile.TemporaryDirectory() as scratch:
        result = fit(task, training, Path(scratch), runtime=runtime)
        model, _ = load_model(Path(scratch) / "model.safetensors", kind="tokenizer")
    indices = evenly_spread(images.indices("train"), most=_MOST_IMAGES)
    error, usages = measure_tokenizer(model, images, indices, runtime=runtime)  # type: ignore[arg-type]
    row = {"validation_mse": result.validation["mse"], "training_mse": error.mse, "seconds": result.seconds}
    for level, usage in enumerate(usages):
        row |= {f"{name}_{level}": value for name, value in usage.to_dict().items()}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--codes", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", nargs="+", help="only these variants")
    parser.add_argument("--out", type=Path, help="JSON to write after each training")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    folders = {"built-in": None} | dict(entry.split("=", 1) for entry in arguments.images)
    results = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    print("| images | codes | | in use, top / bottom | perplexity | validation MSE | seconds |")
    print("|---|---|---|---|---|---|---|")
    for set_name, folder in folders.items():
        source = BuiltinImages() if folder is None else ImageFolder(folder)
        survey = survey_images(source)
        preset = "cpu64" if folder is None else choose_preset("cpu", survey.short_side)
        with tempfile.TemporaryDirectory() as scratch:
            images = prepare_images(
                source,
                Path(scratch) / "images",
                ImageConfig(
                    size=PRESETS[preset].images.size,
                    channels=survey.channels,
                    group_pattern=BUILTIN_GROUP_PATTERN if folder is None else None,
                ),
            )
            for codes in arguments.codes:
                for name, (quantizer, prepare) in variants(codes).items():
                    key = f"{set_name}, {codes}, {name}"
                    if (arguments.only and name not in arguments.only) or key in results:
                        continue
                    row = results[key] = train(images, preset, quantizer, prepare, arguments.steps)
                    print(
                        f"| {set_name} | {codes} | {name} | {row['usage_0']:.1%} / {row['usage_1']:.1%} | "
                        f"{row['perplexity_0']:.0f} / {row['perplexity_1']:.0f} | {row['validation_mse']:.4f} | "
                        f"{row['seconds']:.0f} |",
                        flush=True,
                    )
                    if arguments.out:
                        arguments.out.write_text(json.dumps(results | {"machine": describe_machine()}, indent=1))


if __name__ == "__main__":
    main()
