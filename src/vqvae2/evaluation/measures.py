"""What is measured of a pipeline: one function per metric, each giving a part of `Results`.

The first two need a bench alone, and serve runs and evaluations alike; the others need the networks that judge.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np

from vqvae2.data import CodeStore
from vqvae2.evaluation.bench import Bench
from vqvae2.evaluation.dial import accept_at_rates
from vqvae2.evaluation.image_set import noise_images
from vqvae2.evaluation.judges import Judges
from vqvae2.evaluation.likelihood import bits_per_image, measure_likelihoods
from vqvae2.evaluation.memorization import measure_memorization
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.evaluation.quality import measure_quality
from vqvae2.evaluation.reconstruction import MeasuredReconstruction, measure_reconstruction
from vqvae2.metrics.measurements import (
    AccuracyResult,
    ClassifierAccuracy,
    DialResult,
    LikelihoodResult,
    MeasuringProtocol,
    MemorizationResult,
    QualityResult,
    RateScores,
    ReconstructionResult,
    SetScores,
)
from vqvae2.training.classifier import measure_accuracy

__all__ = [
    "measure_accuracies",
    "measure_dial",
    "measure_errors",
    "measure_likelihood",
    "measure_memorizations",
    "measure_qualities",
]

_SHOWN_NEIGHBOURS, _SHOWN_COPIES, _SHOWN_PER_RATE = 3, 12, 12


def measure_errors(bench: Bench, validation: np.ndarray, train: np.ndarray | None = None) -> ReconstructionResult:
    """Measure errors of reconstructions by level, and the use of the codebooks on validation images.

    Args:
        bench: What is evaluated, where and how.
        validation: Numbers of the validation images, int64 `(N,)`.
        train: Numbers of training images to measure beside them.
    """

    def measure(name: str, indices: np.ndarray) -> MeasuredReconstruction:
        bench.listener.stage("reconstruction", f"{len(indices)} {name} images")
        return measure_reconstruction(
            bench.subject.pipeline.tokenizer,
            bench.subject.images,
            indices,
            batch_size=bench.config.batch_size,
            on_progress=bench.counter("images"),
        )

    of_train = None if train is None else measure("training", train).errors
    held_out = measure("validation", validation)
    protocol = bench.own_protocol("the images themselves, in [-1, 1]", validation)
    return ReconstructionResult(validation=held_out.errors, train=of_train, levels=held_out.levels, protocol=protocol)


def measure_likelihood(bench: Bench, codes: CodeStore, validation: np.ndarray) -> LikelihoodResult:
    """Measure what held-out and training codes cost under the priors.

    Args:
        bench: What is evaluated, where and how.
        codes: Of all images.
        validation: Numbers of the validation images, for the protocol.
    """
    bench.listener.stage("likelihood", f"codes of {len(validation)} validation images")
    levels = measure_likelihoods(bench.subject.pipeline.priors, codes, runtime=bench.exact_runtime)
    bits = bits_per_image([level.nll_nats_per_code for level in levels], codes.shapes)
    images = bench.subject.images
    num_pixels = math.prod(images.size)
    return LikelihoodResult(
        levels=levels,
        bits_per_pixel=bits / num_pixels,
        bits_per_dim=bits / (num_pixels * images.channels),
        compression_ratio=images.bit_depth * images.channels * num_pixels / bits if bits else math.inf,
        protocol=bench.own_protocol("codes of validation images", validation),
    )


def measure_qualities(judges: Judges, network: FeatureNetwork) -> QualityResult:
    """Measure distances to the training images: of held-out images, reconstructions, samples, and noise."""
    bench, sets, device = judges.bench, judges.sets, judges.bench.runtime.device
    count = sets.num_compared
    compared = [sets.held_out, sets.reconstructed]
    if bench.subject.pipeline.priors:
        compared.append(sets.sampled)
    compared.append(noise_images(bench.subject.images, count))
    reference = judges.features(network, sets.reference)
    rows = []
    for images in compared:
        found = judges.features(network, images)
        bench.listener.stage("quality", f"{images.name} in features of {network.name}")
        rows.append(
            SetScores(set=images.name, **asdict(measure_quality(found, slice(count), reference, device=device)))
        )
    return QualityResult(
        sets=tuple(rows), num_features=reference.features.shape[1], protocol=_protocol(judges, network, count)
    )


def measure_accuracies(judges: Judges) -> AccuracyResult:
    """Measure classification accuracy scores: classifiers trained on each kind of image, tested on real held-out ones.

    Ravuri & Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models".
    """
    bench, sets = judges.bench, judges.sets
    pipeline = bench.subject.pipeline
    rows = []
    for kind in ("real", "reconstructions", *(["samples"] if pipeline.priors and pipeline.config.classes else [])):
        model = judges.classifier(kind)
        accuracy = measure_accuracy(model, bench.subject.images, sets.validation, runtime=bench.exact_runtime)
        rows.append(ClassifierAccuracy(trained_on=kind, top1=accuracy.top1, top5=accuracy.top5, loss=accuracy.loss))
    return AccuracyResult(
        classifiers=tuple(rows),
        num_training_images=sets.num_for_classifiers,
        num_validation_images=accuracy.num_images,
        protocol=bench.own_protocol("classes of validation images", sets.validation),
    )


def measure_dial(judges: Judges, network: FeatureNetwork) -> DialResult:
    """Measure scores of one pool of samples against the acceptance rate."""
    bench, pool, device = judges.bench, judges.sets.samples, judges.bench.runtime.device
    accepted = accept_at_rates(judges.scores, pool.labels, bench.config.acceptance_rates)
    pictures = [pool.read(entry.indices[:_SHOWN_PER_RATE]) for entry in accepted]
    picture = bench.save_picture("dial.png", np.concatenate(pictures), columns=len(pictures[0]))
    reference = judges.features(network, judges.sets.reference)
    found = judges.features(network, judges.sets.sampled)
    rows = []
    for entry in accepted:
        bench.listener.stage("dial", f"acceptance rate {entry.acceptance_rate:g} in features of {network.name}")
        scores = asdict(measure_quality(found, entry.indices, reference, device=device))
        rows.append(RateScores(acceptance_rate=entry.acceptance_rate, mean_score=entry.mean_score, **scores))
    return DialResult(
        rates=tuple(rows),
        best_acceptance_rate=min(rows, key=lambda row: row.frechet_distance).acceptance_rate,
        num_samples=pool.num_images,
        picture=picture,
        protocol=_protocol(judges, network, len(accepted[0].indices)),
    )


def measure_memorizations(judges: Judges, network: FeatureNetwork) -> MemorizationResult:
    """Measure whether samples lie nearer to training images than held-out images do."""
    bench, sets = judges.bench, judges.sets
    count = sets.num_compared
    training, samples, held_out = (
        judges.features(network, images) for images in (sets.reference, sets.sampled, sets.held_out)
    )
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
    rows += [bench.subject.images.read(sets.training[column]) for column in found.neighbours.T]
    name = f"memorization-{network.name.lower()}.png"
    return MemorizationResult(
        share_nearer=found.share_nearer,
        sample_distance=found.sample_distance,
        validation_distance=found.validation_distance,
        picture=bench.save_picture(name, np.concatenate(rows), columns=len(rows[0])),
        protocol=_protocol(judges, network, count),
    )


def _protocol(judges: Judges, network: FeatureNetwork, num_images: int) -> MeasuringProtocol:
    """Give the protocol of numbers of so many images in features of a network."""
    reference = f"training images of {judges.bench.subject.data_name}"
    return judges.bench.protocol(reference, judges.sets.reference, num_images=num_images, network=network)
