"""What an evaluation measures: one function a metric, each giving numbers that `json` can write.

Shapes: N images, D features of a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.config import EvaluationConfig
from vqvae2.data import CodeStore, Images
from vqvae2.evaluation.dial import accept_at_rates
from vqvae2.evaluation.feature_network import FeatureNetwork
from vqvae2.evaluation.features import FeatureSet
from vqvae2.evaluation.held_out import measure_reconstruction
from vqvae2.evaluation.image_set import noise_images
from vqvae2.evaluation.judges import EvaluationNetworks
from vqvae2.evaluation.likelihood import bits_per_image, measure_likelihoods
from vqvae2.evaluation.memorization import measure_memorization
from vqvae2.evaluation.protocol import Protocol
from vqvae2.evaluation.quality import Quality, measure_quality
from vqvae2.evaluation.sets import EvaluationSets
from vqvae2.images import image_grid, save_png
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.system.processes import first_decides, is_first_process
from vqvae2.system.progress import Listener, Progress
from vqvae2.training.classifier import measure_accuracy
from vqvae2.training.extraction import extract_codes
from vqvae2.training.task import Runtime

__all__ = [
    "Bench",
    "measure_accuracies",
    "measure_dial",
    "measure_errors",
    "measure_likelihood",
    "measure_memorizations",
    "measure_qualities",
]

_SHOWN_NEIGHBOURS, _SHOWN_COPIES, _SHOWN_A_RATE = 3, 12, 12


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that measuring needs."""

    pipeline: Pipeline
    images: Images
    directory: Path
    """Where pictures go, and codes."""
    config: EvaluationConfig
    sets: EvaluationSets
    networks: EvaluationNetworks
    protocol: Protocol
    runtime: Runtime
    """Computes in float32, whatever trainings compute in."""
    listener: Listener

    def protocol_of(self, reference: str, indices: np.ndarray) -> Protocol:
        """Give the protocol of numbers that some of the images themselves are compared with."""
        return replace(
            self.protocol,
            reference=reference,
            reference_fingerprint=self.images.fingerprint(indices),
            num_reference=len(indices),
            num_images=len(indices),
        )

    def counter(self, unit: str) -> Callable[[int, int], None]:
        """Make a callback `(done, total)` that reports to the listener."""
        return lambda done, total: self.listener.progress(Progress(done, total, unit))

    def save_picture(self, name: str, pixels: np.ndarray, *, columns: int) -> str:
        """Write images `(N, H, W, C)` as a grid, a row after the other; return the name of its file."""
        if is_first_process():
            save_png(image_grid(pixels, columns=columns), self.directory / name)
        return name

    def quality(self, found: FeatureSet, indices: np.ndarray | slice, reference: FeatureSet) -> Quality:
        """Compare some images of a set with the reference."""
        return measure_quality(
            found.features[indices],
            found.logits[indices],
            reference=reference.features,
            reference_statistics=reference.statistics(),
            device=self.runtime.device,
        )


def measure_errors(bench: Bench) -> dict[str, Any]:
    """Error of held-out and of training images, by level, and the use of the codebooks."""
    sets = bench.sets
    values: dict[str, Any] = {}
    for name, indices in (("train", sets.training[: len(sets.validation)]), ("validation", sets.validation)):
        bench.listener.stage("reconstruction", f"{len(indices)} {name} images")
        measured = measure_reconstruction(
            bench.pipeline.tokenizer,
            bench.images,
            indices,
            batch_size=bench.config.batch_size,
            on_progress=bench.counter("images"),
        )
        values[name] = measured.to_dict()
    names = bench.pipeline.tokenizer.config.level_names
    values["levels"] = [
        {"name": name, "mse_down_to_here": error.mse, **usage.to_dict()}
        for name, error, usage in zip(names, measured.errors, measured.usages, strict=True)
    ]
    return values | {"protocol": bench.protocol_of("the images themselves, in [-1, 1]", sets.validation).to_dict()}


def measure_likelihood(bench: Bench) -> dict[str, Any]:
    """What held-out and training codes cost by the priors."""
    codes = _codes(bench)
    count = len(codes.indices("validation"))
    bench.listener.stage("likelihood", f"codes of {count} validation images")
    likelihoods = measure_likelihoods(bench.pipeline.priors, codes, runtime=bench.runtime)
    bits = bits_per_image([entry.validation_nats_per_code for entry in likelihoods], codes.shapes)
    names, num_pixels = bench.pipeline.tokenizer.config.level_names, math.prod(bench.images.size)
    return {
        "levels": [
            {"name": name, "shape": list(shape), **entry.to_dict()}
            for name, shape, entry in zip(names, codes.shapes, likelihoods, strict=True)
        ],
        "bits_per_pixel": bits / num_pixels,
        "bits_per_dim": bits / (num_pixels * bench.images.channels),
        "protocol": bench.protocol_of("codes of validation images", bench.sets.validation).to_dict(),
    }


def measure_qualities(bench: Bench, network: FeatureNetwork) -> dict[str, Any]:
    """Distances to the training images: of held-out images, reconstructions, samples, and noise."""
    sets, count = bench.sets, bench.sets.num_compared
    compared = [sets.held_out, sets.reconstructed]
    if bench.pipeline.priors:
        compared.append(sets.sampled)
    compared.append(noise_images(bench.images, count))
    reference = bench.networks.features(network, sets.reference)
    rows = []
    for images in compared:
        found = bench.networks.features(network, images)
        bench.listener.stage("quality", f"{images.name} in features of {network.name}")
        rows.append({"set": images.name, **bench.quality(found, slice(count), reference).to_dict()})
    return {
        "sets": rows,
        "num_features": reference.features.shape[1],
        "protocol": bench.protocol.seen_by(network).to_dict(),
    }


def measure_accuracies(bench: Bench) -> dict[str, Any]:
    """Classification accuracy scores: of classifiers trained on each kind of image, tested on real held-out ones.

    Ravuri & Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models".
    """
    kinds = ["real", "reconstructions"]
    if bench.pipeline.priors and bench.pipeline.config.classes:
        kinds.append("samples")
    rows = []
    for kind in kinds:
        model = bench.networks.classifier(kind)
        accuracy = measure_accuracy(model, bench.images, bench.sets.validation, runtime=bench.runtime)
        rows.append({"trained_on": kind, "top1": accuracy.top1, "top5": accuracy.top5, "loss": accuracy.loss})
    return {
        "classifiers": rows,
        "num_training_images": bench.sets.num_for_classifiers,
        "num_validation_images": accuracy.num_images,
        "protocol": bench.protocol_of("classes of validation images", bench.sets.validation).to_dict(),
    }


def measure_dial(bench: Bench, network: FeatureNetwork) -> dict[str, Any]:
    """Scores of one pool of samples against the acceptance rate."""
    pool = bench.sets.samples
    accepted = accept_at_rates(bench.networks.scores, pool.labels, bench.config.acceptance_rates)
    pictures = [pool.read(entry.indices[:_SHOWN_A_RATE]) for entry in accepted]
    picture = bench.save_picture("dial.png", np.concatenate(pictures), columns=len(pictures[0]))
    reference = bench.networks.features(network, bench.sets.reference)
    found = bench.networks.features(network, bench.sets.sampled)
    rows = []
    for entry in accepted:
        bench.listener.stage("dial", f"acceptance rate {entry.acceptance_rate:g} in features of {network.name}")
        rates = {"acceptance_rate": entry.acceptance_rate, "mean_score": entry.mean_score}
        rows.append(rates | bench.quality(found, entry.indices, reference).to_dict())
    return {
        "rates": rows,
        "best_acceptance_rate": min(rows, key=lambda row: row["frechet_distance"])["acceptance_rate"],
        "num_samples": pool.num_images,
        "picture": picture,
        "protocol": replace(bench.protocol.seen_by(network), num_images=len(accepted[0].indices)).to_dict(),
    }


def measure_memorizations(bench: Bench, network: FeatureNetwork) -> dict[str, Any]:
    """Whether samples lie nearer to training images than held-out images do."""
    sets, count = bench.sets, bench.sets.num_compared
    training = bench.networks.features(network, sets.reference)
    samples = bench.networks.features(network, sets.sampled)
    held_out = bench.networks.features(network, sets.held_out)
    bench.listener.stage("memorization", f"nearest training images in features of {network.name}")
    found = measure_memorization(
        samples.features[:count],
        held_out.features,
        training.features,
        num_shown=_SHOWN_COPIES,
        num_neighbours=_SHOWN_NEIGHBOURS,
        device=bench.runtime.device,
    )
    rows = [sets.samples.read(found.nearest_samples)]
    rows += [bench.images.read(sets.training[column]) for column in found.neighbours.T]
    name = f"memorization-{network.name.lower()}.png"
    return {
        "share_nearer": found.share_nearer,
        "sample_distance": found.sample_distance,
        "validation_distance": found.validation_distance,
        "picture": bench.save_picture(name, np.concatenate(rows), columns=len(rows[0])),
        "protocol": bench.protocol.seen_by(network).to_dict(),
    }


def _codes(bench: Bench) -> CodeStore:
    directory = bench.directory / "codes"
    if not first_decides(directory.exists):
        bench.listener.stage("extract codes", f"{bench.images.num_images} images")
        extract_codes(
            bench.pipeline.tokenizer,
            bench.images,
            directory,
            batch_size=bench.config.batch_size,
            on_progress=bench.counter("images"),
        )
    return CodeStore.open(directory)
