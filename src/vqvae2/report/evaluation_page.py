"""The page of an evaluation: our numbers in the order of the paper's tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vqvae2.report.evaluation_dial import dial_section
from vqvae2.report.evaluation_scores import frechet_name
from vqvae2.report.evaluation_sets import distances_section, memorization_section
from vqvae2.report.evaluation_tables import accuracy_section, reconstruction_section
from vqvae2.report.frame import Section, card, cards, render
from vqvae2.report.levels import evaluated_levels
from vqvae2.report.published import PAPER
from vqvae2.report.tables import time_bars
from vqvae2.report.text import (
    entries,
    escape,
    folded,
    format_count,
    format_number,
    format_percent,
    number,
    part,
    settings,
    table,
)
from vqvae2.system.atomic import atomic_write_bytes

__all__ = ["render_evaluation_page", "write_evaluation_page"]

_METRICS, _METRICS_BY_NETWORK = ("reconstruction", "likelihood", "accuracy"), ("dial", "quality", "memorization")
_COUNTS = {
    "train": "training images",
    "validation": "validation images",
    "samples": "samples drawn",
    "compared": "images of each set that is compared",
}


def write_evaluation_page(results: Mapping[str, Any], directory: Path, *, title: str) -> Path:
    """Write `report.html` in one stroke, so that it is never half there.

    Args:
        results: Of `Evaluation.run`; whatever is missing in them is left out of the page.
        directory: The evaluation's folder, with the pictures that the results name.
        title: Of the page.

    Returns:
        Path of the page.
    """
    path = directory / "report.html"
    atomic_write_bytes(path, render_evaluation_page(results, directory, title=title).encode())
    return path


def render_evaluation_page(results: Mapping[str, Any], directory: Path, *, title: str) -> str:
    """Make the page, see `write_evaluation_page`."""
    found = [
        reconstruction_section(results),
        accuracy_section(results),
        dial_section(results, directory),
        distances_section(results),
        memorization_section(results, directory),
        _left_out(results),
        _circumstances(results),
    ]
    summary = Section(
        key="summary",
        title="At a glance",
        lead=_introduction(results),
        body=_cards(results),
        if_empty="Nothing was measured.",
    )
    footer = "The numbers of this page are in results.json, in the same folder. Nothing here comes from the network."
    return render(title, [summary, *(section for section in found if section.body)], footer=footer)


def _introduction(results: Mapping[str, Any]) -> str:
    text = (
        f"A VQ-VAE-2, measured as {PAPER} measured theirs, table by table. Where the paper or others give a number, "
        "it stands beside ours in small print: it is of ImageNet, and shows what to expect of a model of that size"
    )
    train, validation = number(results, "num_images", "train"), number(results, "num_images", "validation")
    if train is not None and validation is not None:
        text += f". Ours is of {format_count(train)} training and {format_count(validation)} validation images"
    return f"{text}."


def _cards(results: Mapping[str, Any]) -> str:
    return cards([*_model_cards(results), *_network_cards(results)])


def _model_cards(results: Mapping[str, Any]) -> list[str]:
    shown = []
    measured = part(results, "reconstruction", "validation")
    psnr, mse, ssim = (number(measured, name) for name in ("psnr_db", "mse", "ssim"))
    if psnr is not None:
        hint = f"Likeness of held-out images and their reconstructions; MSE {format_number(mse)} in [&minus;1, 1]"
        hint += f", SSIM {format_number(ssim)}." if ssim is not None else "."
        shown.append(card("Reconstruction PSNR", f"{format_number(psnr)} <i>dB</i>", hint))
    nll = [level for level in evaluated_levels(results) if level.nll_bits is not None]
    if nll:
        values = "<br>".join(f"{format_number(level.nll_bits)} <i>{escape(level.name)}</i>" for level in nll)
        uniform = " and ".join(dict.fromkeys(format_number(level.uniform_bits) for level in nll))
        hint = f"Cost of a code of held-out images by the priors. Lower is better; guessing needs {uniform}."
        shown.append(card("Bits per code (NLL)", values, hint))
    accuracies = {entry.get("trained_on"): number(entry, "top1") for entry in _classifiers(results)}
    real, samples = accuracies.get("real"), accuracies.get("samples")
    if samples is not None:
        of_real = "" if real is None else f" <i>of {format_percent(real)}</i>"
        hint = "Top-1 accuracy of a classifier trained on samples alone, of that of one trained on real images."
        shown.append(card("Classification accuracy", f"{format_percent(samples)}{of_real}", hint))
    return shown


def _classifiers(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return entries(part(results, "accuracy"), "classifiers")


def _network_cards(results: Mapping[str, Any]) -> list[str]:
    shown = []
    for name, measured in part(results, "quality").items():
        distances = {entry.get("set"): number(entry, "frechet_distance") for entry in entries(part(measured), "sets")}
        values = [
            f"{format_number(distances[key])} <i>{words}</i>"
            for key, words in (("samples", "samples"), ("validation images", "held out"))
            if distances.get(key) is not None
        ]
        if values:
            hint = (
                "Fréchet distance to training images. The nearer samples are to what held-out images have, the better."
            )
            shown.append(card(escape(frechet_name(name)), "<br>".join(values), hint))
    shares = {name: number(values, "share_nearer") for name, values in part(results, "memorization").items()}
    values = [f"{format_number(share, 2)} <i>{escape(name)}</i>" for name, share in shares.items() if share is not None]
    if values:
        hint = "How often a sample is nearer to a training image than a held-out image is: ½ is new, near 1 is copied."
        shown.append(card("Share nearer", "<br>".join(values), hint))
    return shown


def _left_out(results: Mapping[str, Any]) -> Section:
    rows = [[escape(name), escape(reason)] for name, reason in part(results, "left_out").items()]
    return Section(
        key="left-out",
        title="Left out",
        lead="What was not measured, and why.",
        body=table([], rows, kind="settings") if rows else "",
    )


def _circumstances(results: Mapping[str, Any]) -> Section:
    counts = {words: number(results, "num_images", key) for key, words in _COUNTS.items()}
    rows = [[words, format_count(count)] for words, count in counts.items() if count is not None]
    body = table(["images", "count"], rows) if rows else ""
    seconds = {name: number(values, "seconds") for name, values in _measurements(results)}
    bars = time_bars({name: value for name, value in seconds.items() if value is not None and math.isfinite(value)})
    body += f"<h3>Time of each measurement</h3>{bars}" if bars else ""
    versions = [part(values, "protocol", "versions") for _, values in _measurements(results)]
    for title, values in (
        ("Config", part(results, "config")),
        ("Pipeline", part(results, "pipeline")),
        ("Versions", next(filter(None, versions), {})),
        ("Machine", part(results, "machine")),
    ):
        body += folded(title, settings(values)) if values else ""
    return Section(
        key="circumstances",
        title="Counts, time and machine",
        lead="What the numbers were made with. A number is only as good as the count of images behind it.",
        body=body,
    )


def _measurements(results: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for metric in _METRICS:
        yield metric, part(results, metric)
    for metric in _METRICS_BY_NETWORK:
        for network in part(results, metric):
            yield f"{metric}, {network}", part(results, metric, network)
