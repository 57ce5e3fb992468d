"""What networks see in sets of images: distances to training and to held-out images, and copies."""

from __future__ import annotations

import itertools
from pathlib import Path

from vqvae2.metrics.measurements import Scores, SetScores
from vqvae2.metrics.results import Results, Strips
from vqvae2.report.frame import Section
from vqvae2.report.pictures import grid_strips
from vqvae2.report.published import DATA, SCORES
from vqvae2.report.text import DASH, decoded_by, escape, format_count, format_number, protocol, table

__all__ = [
    "STANDARD_NETWORK",
    "bias_note",
    "distances_section",
    "frechet_name",
    "memorization_section",
    "score_cells",
    "score_header",
]

STANDARD_NETWORK = "Inception-v3"
"""The one network whose distances have names of their own, and compare with published ones."""
_PICTURE_ROWS = (("sample", ""), ("nearest", "training image"), ("second", ""), ("third", ""))


def frechet_name(network: str) -> str:
    """Give the name of the Fréchet distance in features of a network: "FID" in those of Inception-v3 alone."""
    return "FID" if network == STANDARD_NETWORK else f"{network}-FD"


def score_header(network: str) -> list[str]:
    """Give the names of all scores, as HTML."""
    kernel_name = "KID" if network == STANDARD_NETWORK else f"{network}-KD"
    others = ("Inception score", "precision", "recall", "density", "coverage")
    return [escape(frechet_name(network)), escape(kernel_name), *others]


def score_cells(scores: Scores) -> list[str]:
    """Give the scores themselves, in the order of the header."""
    names = ("frechet_distance", "kernel_distance", "inception_score", "precision", "recall", "density", "coverage")
    return [format_number(getattr(scores, name)) for name in names]


def bias_note(num_images: int, num_features: int) -> str:
    """Warn of a Fréchet distance of fewer images than there are features; nothing if there are enough."""
    if num_images >= num_features:
        return ""
    return (
        f'<p class="note">There are fewer images ({format_count(num_images)}) than features '
        f"({format_count(num_features)}): a Fréchet distance is then biased upwards, and compares only within its "
        "column.</p>"
    )


def distances_section(results: Results) -> Section:
    """Show scores of every set of images against training and held-out images, in features of each network."""
    parts = []
    for network, measured in results.quality.items():
        parts.append(f"<h3>In features of {escape(network)}{decoded_by(results.decoder)}</h3>")
        parts.append(_distances_table(network, measured.sets))
        parts.append(_order_note(network, measured.sets))
        parts.append(bias_note(measured.protocol.num_images, measured.num_features))
        parts.append(protocol(measured.protocol, f"distances, {escape(network)}"))
    return Section(
        key="distances",
        title="Distances to real images",
        lead="How far sets of images are from the training images, as a network sees them. Validation images are what "
        "a perfect model would draw, noise what a broken one would. <b>Good:</b> both distances rise from validation "
        "images over reconstructions to samples, by little, and far to noise. These distances reward memory; the "
        "Fréchet distance to as many held-out images does not. Few images bias it upwards, but less for "
        "reconstructions, which meet their own originals, so compare it for the same set of other models. Precision is "
        "the share of a set that lies among the training images, recall the share of these that lies among the set; "
        "density and coverage are the same, less moved by outliers. All scores compare only with those of the same "
        "network; the Inception score is over the classes that it knows.",
        body="".join(parts) + _published_table() if parts else "",
    )


def _distances_table(network: str, sets: tuple[SetScores, ...]) -> str:
    distance, *others = score_header(network)
    rows = []
    for row in sets:
        to_training, *scores = score_cells(row)
        to_held_out = format_number(row.frechet_distance_to_held_out)
        rows.append([escape(row.set), to_training, to_held_out, *scores])
    return table(["", distance, f"{distance} to held-out images", *others], rows)


def _order_note(network: str, sets: tuple[SetScores, ...]) -> str:
    for near, far in itertools.pairwise(sets):
        if near.frechet_distance > far.frechet_distance:
            return (
                f"<p>Out of order: by {escape(frechet_name(network))}, {escape(far.set)} are nearer to the training "
                f"images than {escape(near.set)}. The counts are too small to tell them apart, or the features do not "
                "see the difference.</p>"
            )
    return ""


def _published_table() -> str:
    rows = []
    for score in SCORES:
        cells = (score.fid, score.inception_score, score.precision, score.recall)
        small = [DASH if cell is None else f"<small>{cell}</small>" for cell in cells]
        rows.append([f"<small>published: {score.name}</small>", *small])
    header = [f"in features of {STANDARD_NETWORK}", "FID", "Inception score", "precision", "recall"]
    return (
        f"<h3>Published of the paper's model</h3>{table(header, rows)}"
        f'<p class="note">{DATA}, as others report it. Other features, data, counts or resizes give '
        "other distances, which do not compare with these.</p>"
    )


def memorization_section(results: Results, directory: Path) -> Section:
    """Show whether samples lie nearer to training images than held-out images do."""
    rows, parts = [], []
    for network, found in results.memorization.items():
        values = (found.share_nearer, found.sample_distance, found.validation_distance)
        rows.append([escape(network), *map(format_number, values)])
        picture = Strips(file=found.picture, title="", rows=_PICTURE_ROWS)
        shown = grid_strips(directory, picture, found.protocol.image_size)
        if shown:
            parts.append(f"<h3>The samples nearest to a training image, by {escape(network)}</h3>{shown}")
        parts.append(protocol(found.protocol, f"memorization, {escape(network)}"))
    header = ["features", "share nearer", "median distance of samples", "median distance of validation images"]
    return Section(
        key="memorization",
        title="Memorization",
        lead="Are samples copies of training images? The share says how often a sample lies nearer to its nearest "
        "training image than a held-out image does to its own: ½ is what new images of the same kind have, near 1 "
        "means copies, and well below ½ that samples lie off the data. The pictures show the worst cases: in each "
        "column a sample, and below it the training images that are nearest to it. <b>Good:</b> a share near ½, and "
        "no sample that is the image below it.",
        body=table(header, rows) + "".join(parts) if rows else "",
    )
