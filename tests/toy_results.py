"""Results each of whose numbers is another, and the pictures that they name."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqvae2.config import SamplingConfig
from vqvae2.images import image_grid, save_png
from vqvae2.metrics import measurements as m
from vqvae2.metrics import results as r

SIZE = (10, 12)
NUM_SHOWN = 5
SETS = ("validation images", "reconstructions of validation images", "samples", "noise")
LEVELS = ("top", "bottom")


def scores(first: float) -> dict[str, float]:
    names = ("frechet_distance", "kernel_distance", "inception_score", "precision", "recall", "density", "coverage")
    return {name: first + 0.01 * index for index, name in enumerate(names)}


def protocol(network: str | None = None, num_images: int = 50) -> m.MeasuringProtocol:
    return m.MeasuringProtocol(
        reference="training images of toys",
        reference_fingerprint="f00d",
        num_reference=777,
        num_images=num_images,
        image_size=SIZE,
        resize="crop, Lanczos",
        network=network,
        network_fingerprint="beef" if network else None,
        preprocessing="bicubic to 224" if network else None,
        versions={"vqvae2": "9.8.7"},
    )


def reconstruction(*, with_training: bool = True) -> m.ReconstructionResult:
    names = ("name", "num_embeddings", "mse_down_to_here", "usage", "perplexity", "dead_codes")
    values = (("top", 128, 0.0456, 0.81, 123.0, 17), ("bottom", 128, 0.0123, 0.92, 111.0, 9))
    return m.ReconstructionResult(
        validation=m.PixelErrors(mse=0.0123, psnr_db=25.1, ssim=0.905, num_images=50),
        train=m.PixelErrors(mse=0.0111, psnr_db=25.6, ssim=0.912, num_images=49) if with_training else None,
        levels=tuple(m.LevelReconstruction(**dict(zip(names, row, strict=True))) for row in values),
        protocol=protocol(),
    )


def level_likelihood(name: str, nats: float, train: float, above: float | None) -> m.LevelLikelihood:
    return m.LevelLikelihood(
        name=name,
        shape=(2, 3),
        num_embeddings=128,
        nll_nats_per_code=nats,
        nll_bits_per_code=nats / math.log(2),
        train_nll_nats_per_code=train,
        train_nll_bits_per_code=train / math.log(2),
        gap_nats_per_code=nats - train,
        uniform_bits_per_code=7.0,
        unigram_nats_per_code=4.25,
        given_above_nats_per_code=above,
    )


def likelihood(top_train: float = 3.14, bottom_train: float = 2.35) -> m.LikelihoodResult:
    return m.LikelihoodResult(
        levels=(level_likelihood("top", 3.21, top_train, None), level_likelihood("bottom", 2.46, bottom_train, 4.05)),
        bits_per_pixel=0.345,
        bits_per_dim=0.115,
        compression_ratio=69.6,
        protocol=protocol(),
    )


def quality(network: str, offset: float = 0.0, *, num_features: int = 40) -> m.QualityResult:
    sets = [
        m.SetScores(set=kind, frechet_distance_to_held_out=offset + index + 0.5, **scores(offset + index))
        for index, kind in enumerate(SETS, 1)
    ]
    sets[0] = replace(sets[0], frechet_distance_to_held_out=None)
    return m.QualityResult(sets=tuple(sets), num_features=num_features, protocol=protocol(network))


def tuning(network: str, settings: Sequence[SamplingConfig]) -> m.TuningResult:
    rows = (m.CandidateScores(sampling=sampling, **scores(7.0 - number)) for number, sampling in enumerate(settings))
    return m.TuningResult(candidates=tuple(rows), chosen=settings[-1], protocol=protocol(network))


def dial(network: str, offset: float = 0.0) -> m.DialResult:
    rates = ((1.0, 0.315), (0.25, 0.625), (0.05, 0.875))
    return m.DialResult(
        rates=tuple(
            m.RateScores(acceptance_rate=rate, mean_score=score, **scores(offset + 5.0 + score))
            for rate, score in rates
        ),
        best_acceptance_rate=1.0,
        num_samples=2345,
        picture="dial.png",
        protocol=protocol(network, num_images=30),
    )


def memorization(network: str, offset: float = 0.0) -> m.MemorizationResult:
    return m.MemorizationResult(
        share_nearer=0.4321 + offset / 100.0,
        sample_distance=1.765,
        validation_distance=1.654,
        picture=f"memorization-{network.lower()}.png",
        protocol=protocol(network),
    )


def accuracy() -> m.AccuracyResult:
    rows = (("real", 0.8123, 0.9512, 0.654), ("reconstructions", 0.7654, 0.9432, 0.765), ("samples", 0.5432, None, 1.2))
    return m.AccuracyResult(
        classifiers=tuple(
            m.ClassifierAccuracy(trained_on=kind, top1=top1, top5=top5, loss=loss) for kind, top1, top5, loss in rows
        ),
        num_training_images=654,
        num_validation_images=50,
        protocol=protocol(),
    )


def bare(**parts: object) -> r.Results:
    """Give results in which nothing was measured but what is given."""
    defaults: dict[str, object] = {
        "pipeline": r.Fingerprints("0" * 32, ("1" * 32,)),
        "num_images": r.ImageCounts(train=1234, validation=50, skipped=2),
        "versions": {"vqvae2": "9.8.7"},
        "machine": r.Machine(device="abacus", threads=3, processor="beads", bfloat16=False),
        "config": {"tokenizer": {"strides": [4, 2]}},
    }
    return r.Results(**(defaults | parts))


def of_evaluation(**networks: float) -> r.Results:
    """Give results as `evaluate` leaves them, in features of networks of these names, each with its own offset."""
    networks = networks or {"Classifier": 0.0}
    return bare(
        reconstruction=reconstruction(),
        likelihood=likelihood(),
        accuracy=accuracy(),
        quality={name: quality(name, offset) for name, offset in networks.items()},
        dial={name: dial(name, offset) for name, offset in networks.items()},
        memorization={name: memorization(name, offset) for name, offset in networks.items()},
        num_images=r.ImageCounts(train=1234, validation=50, skipped=0, samples=2345, compared=48),
        seconds={"reconstruction": 75.0, "quality, Classifier": 11.0},
    )


def of_run() -> r.Results:
    """Give results as `run` leaves them."""
    rows = (("original", ""), ("top only", "12.3 dB"), ("all levels", "23.4 dB"))
    half = tuple((label, "") for label in ("original", "given", "variant 1"))
    return bare(
        reconstruction=reconstruction(with_training=False),
        likelihood=likelihood(),
        trainings={
            "train tokenizer": r.TrainingResult(planned_steps=2000, last_step=2000, best_step=1900),
            "train prior, top": r.TrainingResult(planned_steps=1487, last_step=1285, best_step=750),
        },
        pictures=r.Pictures(
            image_size=SIZE,
            reconstructions=r.Strips(file="reconstructions.png", title="", rows=rows, images=tuple(range(NUM_SHOWN))),
            samples=tuple(
                r.SampleSheet(file=f"samples/{name}.png", class_name=name, num_images=7) for name in ("cats", "dogs")
            ),
            completions=tuple(
                r.Strips(file="completions.png", title=title, rows=half, first_row=first)
                for title, first in (("Half", 0), ("Levels", 3))
            ),
        ),
        skipped_files=(r.SkippedFile("a.png", "torn"), r.SkippedFile("b.png", "empty")),
        seconds={"prepare images": 1.5, "train tokenizer": 75.0},
    )


def save_pictures(results: r.Results, directory: Path, *, channels: int = 3, dtype: type = np.uint8) -> None:
    """Draw noise in the place of every picture that the results name."""
    generator = np.random.default_rng(0)
    num_rows = {part.picture: 3 for part in results.dial.values()}
    num_rows |= {part.picture: 4 for part in results.memorization.values()}
    if results.pictures is not None:
        num_rows |= {"reconstructions.png": 3, "completions.png": 6} | dict.fromkeys(
            (sheet.file for sheet in results.pictures.samples), 2
        )
    for name, rows in num_rows.items():
        (directory / name).parent.mkdir(exist_ok=True)
        pixels = generator.integers(0, np.iinfo(dtype).max + 1, (rows * NUM_SHOWN, *SIZE, channels), dtype=dtype)
        save_png(image_grid(pixels, columns=NUM_SHOWN), directory / name)
