"""What prior networks reach on one run's codes in equal time, beside what counts of the codes reach.

    python benchmarks/priors.py RUN --minutes 30 --out docs/measurements/priors.json

RUN is a run's folder with codes, for example the demo's. Each network is trained on all of its levels, for so many
minutes in all, timing and validations included; levels share them as in a run. Patience may end a training before.
Trainings lie in a folder a network and go on when the same command is repeated; `--only` adds a network to the results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine

from vqvae2 import (
    PRESETS,
    CodeSpace,
    PixelSNAILConfig,
    Prior,
    PriorConfig,
    PriorTrainingConfig,
    TransformerConfig,
    choose_runtime,
)
from vqvae2.cli.console import Terminal
from vqvae2.config import NetworkConfig
from vqvae2.data import CodeStore
from vqvae2.evaluation.likelihood import bits_per_image, measure_likelihoods
from vqvae2.metrics.count_baselines import measure_baselines
from vqvae2.models.checkpoint import MODEL_FILE, load_model
from vqvae2.pipeline.folder import prior_folder
from vqvae2.runs.record import RunRecord
from vqvae2.runs.training import TrainingStage
from vqvae2.training.prior import PriorTask
from vqvae2.training.schedule import training_shares
from vqvae2.training.task import Runtime

Networks = tuple[NetworkConfig, ...]  # top first; the last stands for further levels too

# On so few images, what keeps a network from memorizing them decides, so each has more dropout than by default.
_PIXELSNAIL = PixelSNAILConfig(hidden_channels=64, residual_channels=64, num_layers=8, kernel_size=3, dropout=0.5)
_TRANSFORMER = TransformerConfig(hidden_channels=128, feedforward_channels=512, num_layers=6, dropout=0.2)
_OF_TRANSFORMER, _OF_PIXELSNAIL = (
    replace(training, max_validations=40, schedule="cosine") for training in PRESETS["cpu64"].prior_trainings
)

NETWORKS: dict[str, tuple[Networks, PriorTrainingConfig]] = {
    "pixelsnail": ((_PIXELSNAIL, replace(_PIXELSNAIL, attention_every=0, dropout=0.2)), _OF_PIXELSNAIL),
    "transformer": ((_TRANSFORMER,), _OF_TRANSFORMER),
}
_TINY: dict[str, Networks] = {
    "pixelsnail": (PixelSNAILConfig(hidden_channels=8, residual_channels=8, num_layers=1, num_heads=2),),
    "transformer": (TransformerConfig(hidden_channels=8, feedforward_channels=8, num_layers=1, num_heads=2),),
}


def train(name: str, record: RunRecord, codes: CodeStore, *, runtime: Runtime) -> dict[str, Any]:
    """Train a network's priors of all levels, and measure the best of each on all validation codes."""
    num_levels = len(codes.shapes)
    shares = training_shares(num_levels)[1]
    priors: list[Prior] = []
    ends = []
    with Terminal() as terminal:
        for level, share in enumerate(shares):
            space = CodeSpace.of_level(
                level, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=len(codes.classes)
            )
            network, training = record.config.prior(level), record.config.prior_training(level)
            stage = TrainingStage(record, f"{name}, level {level}", record.directory / prior_folder(level, num_levels))
            task = PriorTask(PriorConfig(space=space, network=network, tokenizer=codes.fingerprint), codes, training)
            minutes = record.config.minutes * share / sum(shares)
            ends.append(stage.train(task, training, minutes=minutes, runtime=runtime, listener=terminal))
            prior, _ = load_model(stage.directory / MODEL_FILE, kind="prior")
            assert isinstance(prior, Prior)
            priors.append(prior.to(runtime.device).eval())
    exact = replace(runtime, bfloat16=False)
    likelihoods = measure_likelihoods(priors, codes, runtime=exact)
    validation = [level.nll_nats_per_code for level in likelihoods]
    return {
        "parameters": [sum(parameter.numel() for parameter in prior.parameters()) for prior in priors],
        "last_steps": [end.last_step for end in ends],
        "planned_steps": [end.planned_steps for end in ends],
        "best_steps": [end.best_step for end in ends],
        "seconds": list(record.seconds.values()),
        "validation_nats_per_code": validation,
        "train_nats_per_code": [level.train_nll_nats_per_code for level in likelihoods],
        "bits_per_pixel": bits_per_image(validation, codes.shapes) / prod(record.config.images.size),
        "minutes": record.config.minutes,
        "machine": describe_machine(),
    }


def count(codes: CodeStore, image_size: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Measure the baselines; at the top, where nothing is above, both are the frequencies."""
    levels = measure_baselines(codes)
    unigram = [level.unigram_nats_per_code for level in levels]
    given_above = [unigram[0], *(level.given_above_nats_per_code for level in levels[1:])]
    return {
        name: {
            "validation_nats_per_code": nats,
            "bits_per_pixel": bits_per_image(nats, codes.shapes) / prod(image_size),
        }
        for name, nats in (("frequency alone", unigram), ("code above alone", given_above))
    }


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Print a row a contender; levels are separated by slashes, top first."""

    def joined(values: Sequence[float] | None, form: str) -> str:
        return " / ".join(format(value, form) for value in values) if values else "–"  # noqa: RUF001 (a dash)

    print("| | parameters | steps (kept) | nats per code, validation | training | bits per pixel |")
    print("|---|---|---|---|---|---|")
    for name, row in results.items():
        steps = joined(row.get("last_steps"), ",") + (
            f" ({joined(row['best_steps'], ',')})" if "best_steps" in row else ""
        )
        print(
            f"| {name} | {joined(row.get('parameters'), ',')} | {steps} "
            f"| {joined(row['validation_nats_per_code'], '.3f')} | {joined(row.get('train_nats_per_code'), '.3f')} "
            f"| {row['bits_per_pixel']:.4f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run with codes")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all levels of a network together")
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="these networks")
    parser.add_argument("--folder", type=Path, default=Path("priors-benchmark"), help="holds the trainings")
    parser.add_argument("--out", type=Path, help="JSON to write; results that it has of others are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="toy networks, to try the script")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    runtime = choose_runtime(arguments.device)
    run, codes = RunRecord.load(arguments.run), CodeStore.open(arguments.run / "codes")
    out = arguments.out
    results = json.loads(out.read_text()) if out is not None and out.exists() else {}
    results |= count(codes, run.config.images.size)
    for name in arguments.only:
        networks, training = NETWORKS[name]
        config = replace(
            run.config,
            minutes=arguments.minutes,
            priors=_TINY[name] if arguments.tiny else networks,
            prior_trainings=(training,),
        )
        results[name] = train(name, RunRecord.begin(arguments.folder / name, config), codes, runtime=runtime)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(results, indent=1))
    print_table(results)


if __name__ == "__main__":
    main()
