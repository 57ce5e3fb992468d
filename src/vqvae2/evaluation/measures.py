"""What is measured with networks that judge: one function per metric, each giving a part of `Results`."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import torch

from vqvae2.evaluation.dial import accept_at_rates
from vqvae2.evaluation.features import FeatureSet, noise_images
from vqvae2.evaluation.judges import Judges
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.metrics.density_coverage import density_coverage
from vqvae2.metrics.frechet_distance import frechet_distance
from vqvae2.metrics.inception_score import inception_score
from vqvae2.metrics.kernel_distance import kernel_distance
from vqvae2.metrics.measurements import (
    AccuracyResult,
    ClassifierAccuracy,
    DialResult,
    MeasuringProtocol,
    MemorizationResult,
    QualityResult,
    RateScores,
    Scores,
    SetScores,
)
from vqvae2.metrics.neighbours import nearest_neighbours, share_nearer
from vqvae2.metrics.precision_recall import precision_recall
from vqvae2.training.classifier import measure_accuracy

__all__ = [
    "measure_accuracies",
    "measure_dial",
    "measure_memorizations",
    "measure_qualities",
    "measure_quality",
]

_SHOWN_NEIGHBOURS, _SHOWN_COPIES, _SHOWN_PER_RATE = 3, 12, 12


def measure_quality(found: FeatureSet, reference: FeatureSet, *, device: torch.device) -> Scores:
    """Compare a set of images with a reference set, as one network sees both.

    Precision, recall, density and coverage depend on how many images both sides have, so they take as many of the
    reference as there are images, from its start; so does the kernel distance, which sees as many pairs on each side.
    The Fréchet distance takes all of the reference.

    Raises:
        DataError: If a set has too few images; the message gives the least count.
    """
    features = found.features
    nearby = reference.features[: len(features)]
    precision, recall = precision_recall(features, nearby, device=device)
    density, coverage = density_coverage(features, nearby, device=device)
    return Scores(
        frechet_distance=frechet_distance(found.statistics, reference.statistics, device=device),
        kernel_distance=kernel_distance(features, nearby, device=device),
        inception_score=inception_score(found.logits),
        precision=precision,
        recall=recall,
        density=density,
        coverage=coverage,
    )


def measure_qualities(judges: Judges, network: FeatureNetwork) -> QualityResult:
    """Measure distances to training and to held-out images: of held-out images, reconstructions, samples, and noise."""
    bench, sets = judges.bench, judges.sets
    count, device = sets.num_compared, bench.runtime.device
    drawn = [sets.sampled] if bench.subject.pipeline.priors else []
    reference, held_out = (judges.features(network, images) for images in (sets.reference, sets.held_out))
    rows = []
    for images in (sets.held_out, sets.reconstructed, *drawn, noise_images(bench.subject.images, count)):
        found = held_out if images is sets.held_out else judges.features(network, images)[:count]
        bench.listener.stage("quality", f"{images.name} in features of {network.name}")
        scores = measure_quality(found, reference, device=device)
        to_held_out = None  # of themselves
        if found is not held_out:
            to_held_out = frechet_distance(found.statistics, held_out.statistics, device=device)
        rows.append(SetScores(set=images.name, frechet_distance_to_held_out=to_held_out, **asdict(scores)))
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
        protocol=replace(bench.own_protocol("classes of validation images", sets.validation), sampling=bench.sampling),
    )


def measure_dial(judges: Judges, network: FeatureNetwork) -> DialResult:
    """Measure scores of one pool of samples against the acceptance rate."""
    bench, pool = judges.bench, judges.sets.samples
    accepted = accept_at_rates(judges.scores, pool.labels, bench.config.acceptance_rates)
    pictures = [pool.read(entry.indices[:_SHOWN_PER_RATE]) for entry in accepted]
    picture = bench.save_picture("dial.png", np.concatenate(pictures), columns=len(pictures[0]))
    reference = judges.features(network, judges.sets.reference)
    found = judges.features(network, judges.sets.sampled)
    rows = []
    for rate, indices, mean_score in accepted:
        bench.listener.stage("dial", f"acceptance rate {rate:g} in features of {network.name}")
        scores = measure_quality(found[indices], reference, device=bench.runtime.device)
        rows.append(RateScores(acceptance_rate=rate, mean_score=mean_score, **asdict(scores)))
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
    training, samples, held_out = (
        judges.features(network, images).features for images in (sets.reference, sets.sampled, sets.held_out)
    )
    samples, device = samples[: sets.num_compared], bench.runtime.device
    bench.listener.stage("memorization", f"nearest training images in features of {network.name}")
    distances, neighbours = nearest_neighbours(samples, training, k=_SHOWN_NEIGHBOURS, device=device)
    of_samples = distances[:, 0]
    of_held_out = nearest_neighbours(held_out, training, k=1, device=device).distances[:, 0]
    # A picture with a row of the samples nearest to a training image, and below it rows of their neighbours.
    shown = np.argsort(of_samples, kind="stable")[:_SHOWN_COPIES]
    rows = [sets.samples.read(shown)]
    rows += [bench.subject.images.read(sets.training[column]) for column in neighbours[shown].T]
    name = f"memorization-{network.name.lower()}.png"
    return MemorizationResult(
        share_nearer=share_nearer(of_samples, of_held_out),
        sample_distance=float(np.median(of_samples)),
        validation_distance=float(np.median(of_held_out)),
        picture=bench.save_picture(name, np.concatenate(rows), columns=len(shown)),
        protocol=_protocol(judges, network, len(samples)),
    )


def _protocol(judges: Judges, network: FeatureNetwork, num_images: int) -> MeasuringProtocol:
    """Give the protocol of numbers of so many images in features of a network."""
    bench, sets = judges.bench, judges.sets
    reference = f"training images of {bench.subject.data_name}"
    protocol = bench.protocol(reference, sets.reference, num_images=num_images, network=network)
    return replace(protocol, sampling=bench.sampling)
