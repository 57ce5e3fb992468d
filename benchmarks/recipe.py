"""What further views of the images of a small set do to priors that would otherwise memorize it.

    vqvae2 train-tokenizer IMAGES --out RUN
    python benchmarks/recipe.py RUN IMAGES --name fashion --steps 2000 1500 --out docs/measurements/recipe.json

RUN is a pipeline, of which the tokenizer and the decoder are used, or `builtin`. Each of `VARIANTS` trains the same
small priors on the codes of IMAGES, from each seed, for the same steps, and keeps the best by held-out codes. Samples
are drawn at temperature 1. Distances are Fréchet distances to held-out images, in features of EfficientNet-Lite0. The
accuracy score is that of a classifier that learned from samples alone, tested on held-out images; a row has that of
real images too. Trainings lie in `--folder`, and go on when the same command is repeated.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine

from vqvae2 import (
    PRESETS,
    CodeSpace,
    ImageConfig,
    Pipeline,
    PixelSNAILConfig,
    Prior,
    PriorConfig,
    ResNetConfig,
    TransformerConfig,
    choose_runtime,
)
from vqvae2.config import ClassifierTrainingConfig, EvaluationConfig, ExtractionConfig, NetworkConfig, SamplingConfig
from vqvae2.data import CodeStore, open_images
from vqvae2.evaluation.bench import Bench, EvaluationSubject
from vqvae2.evaluation.judges import Judges
from vqvae2.evaluation.likelihood import measure_likelihoods
from vqvae2.evaluation.networks import EvaluationNetworks, FeatureNetwork, find_network
from vqvae2.metrics.frechet_distance import frechet_distance
from vqvae2.metrics.kernel_distance import kernel_distance
from vqvae2.models.checkpoint import MODEL_FILE, load_model
from vqvae2.runs.images import prepare_once
from vqvae2.system.progress import Listener
from vqvae2.training.classifier import measure_accuracy
from vqvae2.training.extraction import extract_codes
from vqvae2.training.loop import fit
from vqvae2.training.prior import PriorTask
from vqvae2.training.task import Runtime

VARIANTS = {"as they are": 0, "views": 8}  # further views of an image
NETWORKS: tuple[NetworkConfig, NetworkConfig] = (
    TransformerConfig(hidden_channels=96, feedforward_channels=384, num_layers=4, dropout=0.2),
    PixelSNAILConfig(
        hidden_channels=48, residual_channels=48, num_layers=6, kernel_size=3, attention_every=0, dropout=0.2
    ),
)


class Set:
    """A set of images with a pipeline of its tokenizer."""

    def __init__(self, source: str, images: Path, config: ImageConfig, folder: Path, runtime: Runtime) -> None:
        self.pipeline, self.folder, self.runtime = Pipeline.from_pretrained(source), folder, runtime
        config = replace(
            config, size=self.pipeline.config.image_size, channels=self.pipeline.tokenizer.config.in_channels
        )
        self.images = prepare_once(open_images(images), folder / "images", config, listener=Listener())

    def codes(self, augment: int) -> CodeStore:
        """Encode the images, and so many further views of those for training, unless this was done before."""
        directory = self.folder / f"codes-{augment}"
        if directory.exists():
            return CodeStore.open(directory)
        return extract_codes(
            self.pipeline.tokenizer, self.images, directory, extraction=ExtractionConfig(augment=augment)
        )

    def train(self, level: int, variant: str, seed: int, steps: int) -> Prior:
        """Train the prior of a level, and give the best."""
        codes = self.codes(VARIANTS[variant])
        training = replace(
            PRESETS["cpu64"].prior_trainings[level],
            steps=steps,
            schedule="cosine",
            patience=0,
            seed=seed,
        )
        space = CodeSpace.of_level(
            level, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=len(codes.classes)
        )
        config = PriorConfig(space=space, network=NETWORKS[level], tokenizer=codes.fingerprint)
        directory = self.folder / f"{variant.replace(' ', '-')}-{seed}" / f"prior-{level}"
        fit(PriorTask(config, codes, training), training, directory, runtime=self.runtime)
        prior, _ = load_model(directory / MODEL_FILE, kind="prior")
        assert isinstance(prior, Prior)
        return prior.eval()

    def bench(self, priors: list[Prior], directory: Path, config: EvaluationConfig) -> Bench:
        """Give what measures samples of some priors."""
        labels = self.images.labels[self.images.indices("train")]
        classes = {
            "classes": self.images.classes,
            "class_counts": tuple(int((labels == label).sum()) for label in range(len(self.images.classes))),
        }
        pipeline = replace(self.pipeline, priors=priors, config=replace(self.pipeline.config, **classes))
        subject = EvaluationSubject(pipeline=pipeline, images=self.images, data_name="a set", resize="any")
        return Bench(subject=subject, directory=directory, config=config, runtime=self.runtime, listener=Listener())


def measure(bench: Bench, network: FeatureNetwork, codes: CodeStore, kind: str) -> dict[str, Any]:
    """Measure samples of trained priors, or for `kind` "real" what is the same for all of them."""
    judges = Judges(bench, EvaluationNetworks(given=(network,), with_classifier=False))
    sets, device = judges.sets, bench.runtime.device
    found: dict[str, Any] = {}
    if kind == "samples":
        likelihoods = measure_likelihoods(bench.subject.pipeline.priors, codes, runtime=bench.exact_runtime)
        found["held_out_nats"] = [level.nll_nats_per_code for level in likelihoods]
        found["training_nats"] = [level.train_nll_nats_per_code for level in likelihoods]
    images = sets.sampled if kind == "samples" else sets.reference
    seen, held_out = judges.features(network, images), judges.features(network, sets.held_out)
    found["distance"] = frechet_distance(seen.statistics, held_out.statistics, device=device)
    found["kernel_distance"] = kernel_distance(seen.features, held_out.features, device=device)
    model = judges.classifier(kind)
    found["accuracy"] = measure_accuracy(model, bench.subject.images, sets.validation, runtime=bench.exact_runtime).top1
    return found


def print_table(results: list[dict[str, Any]]) -> None:
    """Print a row a training; levels are separated by slashes, top first."""
    print("| set | priors learn from | seed | held-out nats | training nats | distance | accuracy score |")
    print("|---|---|---|---|---|---|---|")
    for row in results:
        nats = [
            " / ".join(format(value, ".3f") for value in row.get(key, ())) for key in ("held_out_nats", "training_nats")
        ]
        print(
            f"| {row['set']} | {row['variant']} | {row['seed']} | {nats[0]} | {nats[1]} | {row['distance']:.1f} "
            f"| {100 * row['accuracy']:.1f} % |"
        )


def main() -> None:
    """Train and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", help="folder of a pipeline, or `builtin`")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--name", default="images", help="of the set, in the table")
    parser.add_argument("--validation-fraction", type=float, default=0.1)
    parser.add_argument("--group-pattern")
    parser.add_argument("--steps", type=int, nargs=2, default=(2000, 1500), help="of the top and of the bottom")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), help="these variants")
    parser.add_argument("--samples", type=int, default=2000, help="of each pair of priors")
    parser.add_argument("--classifier-steps", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=Path("recipe-benchmark"), help="holds the trainings")
    parser.add_argument("--out", type=Path, help="JSON to write; rows that it has of others are kept")
    parser.add_argument("--features", default="lite0")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    out, name, runtime = arguments.out, arguments.name, choose_runtime("cpu")
    split = ImageConfig(validation_fraction=arguments.validation_fraction, group_pattern=arguments.group_pattern)
    subject = Set(arguments.pipeline, arguments.images, split, arguments.folder / name, runtime)
    network = find_network(arguments.features)
    results = json.loads(out.read_text())["rows"] if out is not None and out.exists() else []
    for seed in arguments.seeds:
        config = EvaluationConfig(
            num_samples=arguments.samples,
            sampling=SamplingConfig(),
            classifier_network=ResNetConfig(hidden_channels=16, stem_stride=max(1, min(subject.images.size) // 32)),
            classifier_epochs=0,
            classifier_training=ClassifierTrainingConfig(
                steps=arguments.classifier_steps, batch_size=64, horizontal_flips=False
            ),
            seed=seed,
        )
        for variant in ["real images", *arguments.only]:
            key = {"set": name, "variant": variant, "seed": seed}
            if any(row.items() >= key.items() for row in results):
                continue
            is_real = variant == "real images"
            priors = (
                []
                if is_real
                else [subject.train(level, variant, seed, steps) for level, steps in enumerate(arguments.steps)]
            )
            directory = subject.folder / f"{variant.replace(' ', '-')}-{seed}" / "measured"
            bench = subject.bench(priors, directory, config)
            found = measure(bench, network, subject.codes(0), "real" if is_real else "samples")
            results.append(key | {"steps": arguments.steps} | found)
            print(json.dumps(results[-1]), flush=True)
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps({"machine": describe_machine(), "rows": results}, indent=1) + "\n")
    print_table(results)


if __name__ == "__main__":
    main()
