"""What networks see in sets of images: distances to the training images, and copies of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vqvae2.report.evaluation_protocol import image_size, image_size_words, protocol
from vqvae2.report.evaluation_scores import STANDARD_NETWORK, bias_note, frechet_name, score_cells, score_header
from vqvae2.report.frame import Section
from vqvae2.report.pictures import grid_strips
from vqvae2.report.published import DATA, SCORES
from vqvae2.report.text import DASH, entries, escape, format_count, format_number, number, part, table

__all__ = ["distances_section", "memorization_section"]

_PICTURE_ROWS = (("sample", ""), ("nearest", "training image"), ("second", ""), ("third", ""))


def distances_section(results: Mapping[str, Any]) -> Section:
    """Scores of every set of images against the training images, in features of each network."""
    parts = []
    for network in part(results, "quality"):
        measured = part(results, "quality", network)
        sets = entries(measured, "sets")
        if not sets:
            continue
        rows = [[escape(entry.get("set")), *score_cells(entry)] for entry in sets]
        if network == STANDARD_NETWORK:
            rows += _published_rows()
        parts.append(f"<h3>In features of {escape(network)}</h3>{table(['', *score_header(network)], rows)}")
        parts.append(_order_note(network, sets) + bias_note(measured, number(measured, "num_features")))
        parts.append(_comparison_note(network, measured) + protocol(measured, f"distances, {escape(network)}"))
    return Section(
        key="distances",
        title="Distances to training images",
        lead="How far sets of images are from the training images, as a network sees them. Validation images are what "
        "a perfect model would draw, noise what a broken one would. <b>Good:</b> both distances rise from validation "
        "images over reconstructions to samples, by little, and far to noise. Precision is the share of a set that "
        "lies among the training images, recall the share of these that lies among the set; density and coverage are "
        "the same, less moved by outliers.",
        body="".join(parts) + _published_table(results) if parts else "",
    )


def _order_note(network: str, sets: Sequence[Mapping[str, Any]]) -> str:
    found = [(escape(entry.get("set")), number(entry, "frechet_distance")) for entry in sets]
    known = [(name, value) for name, value in found if value is not None]
    for (near, smaller), (far, larger) in itertools.pairwise(known):
        if smaller > larger:
            return (
                f"<p>Out of order: by {escape(frechet_name(network))}, {far} are nearer to the training images than "
                f"{near}. The counts are too small to tell them apart, or the features do not see the difference.</p>"
            )
    return ""


def _comparison_note(network: str, measured: Mapping[str, Any]) -> str:
    if network == STANDARD_NETWORK:
        text = (
            f"Small print: the paper's model on {DATA}, as others report it. Ours are of "
            f"{format_count(number(measured, 'protocol', 'num_images'))} images at {image_size_words(measured)}; other "
            "data, another count or another resize give another FID."
        )
    else:
        classes = "classes of these images" if network == "Classifier" else f"classes that {escape(network)} knows"
        text = (
            f"The Inception score is over the {classes}. It and the distances compare only "
            f"with those of the same network: published ones are of {STANDARD_NETWORK}."
        )
    return f'<p class="note">{text}</p>'


def _published_table(results: Mapping[str, Any]) -> str:
    """Show what is published, where no table of ours does."""
    if entries(part(results, "quality", STANDARD_NETWORK), "sets"):
        return ""
    header, *rows = (
        [*row[:2], *row[3:6]]
        for row in ([f"in features of {STANDARD_NETWORK}", *score_header(STANDARD_NETWORK)], *_published_rows())
    )
    return (
        f"<h3>Published of the paper's model</h3>{table(header, rows)}"
        f'<p class="note">{DATA}, as others report it. Nothing above compares with these: it is of other features.</p>'
    )


def _published_rows() -> list[list[str]]:
    def small(cell: str | None) -> str:
        return DASH if cell is None else f"<small>{cell}</small>"

    return [
        [
            f"<small>published: {score.name}</small>",
            *map(small, (score.fid, None, score.inception_score, score.precision, score.recall, None, None)),
        ]
        for score in SCORES
    ]


def memorization_section(results: Mapping[str, Any], directory: Path) -> Section:
    """Whether samples lie nearer to training images than held-out images do."""
    rows, parts = [], []
    for network in part(results, "memorization"):
        measured = part(results, "memorization", network)
        values = [number(measured, name) for name in ("share_nearer", "sample_distance", "validation_distance")]
        if values[0] is None:
            continue
        rows.append([escape(network), *map(format_number, values)])
        strips = grid_strips(directory, str(measured.get("picture")), image_size(measured), _PICTURE_ROWS)
        if strips:
            parts.append(f"<h3>The samples nearest to a training image, by {escape(network)}</h3>{strips}")
        parts.append(protocol(measured, f"memorization, {escape(network)}"))
    header = ["features", "share nearer", "median distance of samples", "median distance of validation images"]
    return Section(
        key="memorization",
        title="Memorization",
        lead="Are samples copies of training images? The share says how often a sample lies nearer to its nearest "
        "training image than a held-out image does to its own: ½ is what new images of the same kind have, near 1 "
        "means copies, and well below ½ that samples lie off the data. The pictures show the worst cases, a column a "
        "sample, with the training images that are nearest to it. <b>Good:</b> a share near ½, and no sample that is "
        "the image below it.",
        body=table(header, rows) + "".join(parts) if rows else "",
    )
