"""What a prior gains that starts from the prior of another pipeline, against one from nothing, on the same codes.

    vqvae2 run IMAGES --out RUN --preset cpu64 --minutes 5 --from builtin
    python benchmarks/start.py RUN --steps 200
    python benchmarks/start.py RUN --steps 400 --augment 8   # priors are shown further views of the images

Both train on the codes of RUN, with its network and training of the level. Printed are nats of held-out codes, by the
average of the weights, as the steps go on. The best of a column is the model that a run keeps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from machine import describe_machine

from vqvae2 import CodeSpace, PriorConfig, choose_runtime
from vqvae2.config import ExtractionConfig
from vqvae2.data import CodeStore
from vqvae2.runs.run import Run
from vqvae2.runs.start import Start
from vqvae2.training.extraction import extract_codes
from vqvae2.training.loop import fit
from vqvae2.training.prior import PriorTask


def curve(run: Run, codes: CodeStore, start: Start | None, arguments: argparse.Namespace) -> dict[int, float]:
    """Train a prior, and give the nats of held-out codes by step."""
    level, config = arguments.level, run.config
    space = CodeSpace.of_level(
        level, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=len(codes.classes)
    )
    prior = PriorConfig(space=space, network=config.prior(level), tokenizer=codes.fingerprint)
    training = replace(
        config.prior_training(level), steps=arguments.steps, patience=0, max_validations=1000, seed=arguments.seed
    )
    weights = None if start is None else start.prior_weights(prior, codes.classes)
    task = PriorTask(prior, codes, training, start=weights)
    with tempfile.TemporaryDirectory() as folder:
        fit(task, training, Path(folder), runtime=run.runtime)
        rows = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["validation_nats_per_code"] for row in rows if "validation_nats_per_code" in row}


def main() -> None:
    """Train both, and print a row for each validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--from", dest="source", default="builtin", help="pipeline to start from")
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--augment", type=int, default=0, help="further views of each image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run = Run.open(arguments.run, runtime=choose_runtime("cpu"))
    tokenizer = run.pipeline().tokenizer
    with tempfile.TemporaryDirectory() as folder:
        extraction = ExtractionConfig(augment=arguments.augment)
        codes = extract_codes(tokenizer, run.images(), Path(folder) / "codes", extraction=extraction)
        started, nothing = (curve(run, codes, start, arguments) for start in (Start.open(arguments.source), None))
    print(describe_machine())
    print("| steps | started | from nothing |\n|---|---|---|")
    for step, nats in started.items():
        print(f"| {step} | {nats:.3f} | {nothing[step]:.3f} |")
    print(f"| best | {min(started.values()):.3f} | {min(nothing.values()):.3f} |")


if __name__ == "__main__":
    main()
