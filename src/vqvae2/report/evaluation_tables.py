"""What an evaluation says of the model by itself: the paper's tables 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vqvae2.report.evaluation_protocol import image_size_words, protocol
from vqvae2.report.frame import Section
from vqvae2.report.levels import Level, evaluated_levels
from vqvae2.report.published import ACCURACIES, DATA, MSE, NLL_NATS, PAPER
from vqvae2.report.tables import likelihood_table
from vqvae2.report.text import (
    DASH,
    entries,
    escape,
    format_count,
    format_number,
    format_percent,
    number,
    part,
    table,
)

__all__ = ["accuracy_section", "reconstruction_section"]


def reconstruction_section(results: Mapping[str, Any]) -> Section:
    """Likelihoods of codes and errors of pixels, on training and on validation images."""
    levels, errors, costs = evaluated_levels(results), part(results, "reconstruction"), part(results, "likelihood")
    rows = [*_likelihood_rows(levels), *_error_rows(errors)]
    bits, dim = number(costs, "bits_per_pixel"), number(costs, "bits_per_dim")
    if bits is not None:
        rows.append(["bits per pixel, by the priors", DASH, format_number(bits), *_small(DASH, DASH)])
    if dim is not None:
        rows.append(["bits per pixel and channel", DASH, format_number(dim), *_small(DASH, DASH)])
    body = table(["", "training", "validation", *_small("paper, training", "paper, validation")], rows)
    note = f"The paper: {DATA}; the range of the pixels of its MSE is not stated. Ours: images at "
    note += f"{image_size_words(errors or costs)}, MSE in [&minus;1, 1]."
    if costs:
        note += (
            " Codes of other data, or of another tokenizer, cost more or less by as good a prior: only likelihoods of "
            "like tokenizers compare."
        )
    body += f'<p class="note">{note}</p>'
    usage = _usage_table(errors)
    body += f"<h3>Codebooks, on validation images</h3>{usage}" if usage else ""
    likelihoods = likelihood_table(levels)
    body += f"<h3>Likelihoods beside what counts of codes cost</h3>{likelihoods}" if likelihoods else ""
    body += protocol(errors, "reconstructions") + protocol(costs, "likelihoods")
    return Section(
        key="reconstruction",
        title="Reconstruction and likelihood",
        answers=f"as table 1 of {PAPER}",
        lead="What the tokenizer loses of images, and what their codes cost by the priors, on images that were "
        "trained on and on held-out ones. <b>Good:</b> the two columns are close, so that nothing is memorized; the "
        "error is low, and nearly all codes are in use.",
        body=body if rows else "",
    )


def _likelihood_rows(levels: list[Level]) -> list[list[str]]:
    rows = []
    for level in levels:
        if level.nll_nats is None:
            continue
        theirs: tuple[float | None, float | None] = NLL_NATS.get(level.name, (None, None))
        for unit, nats in (("nats", 1.0), ("bits", math.log(2.0))):
            ours = [None if value is None else value / nats for value in (level.train_nll_nats, level.nll_nats)]
            published = [None if value is None else value / nats for value in theirs]
            rows.append(
                [
                    f"NLL {escape(level.name)}, {unit} per code",
                    *map(format_number, ours),
                    *_small(*map(format_number, published)),
                ]
            )
    return rows


def _error_rows(errors: Mapping[str, Any]) -> list[list[str]]:
    published = {"mse": tuple(format_number(value, 2) for value in MSE)}
    rows = []
    for key, words in (("mse", "MSE"), ("psnr_db", "PSNR, dB"), ("ssim", "SSIM"), ("num_images", "images measured")):
        write = format_count if key == "num_images" else format_number
        ours = [number(errors, split, key) for split in ("train", "validation")]
        if any(value is not None for value in ours):
            rows.append([words, *map(write, ours), *_small(*published.get(key, (DASH, DASH)))])
    return rows


def _usage_table(errors: Mapping[str, Any]) -> str:
    rows = [
        [
            escape(entry.get("name")),
            format_percent(number(entry, "usage")),
            format_count(number(entry, "dead_codes")),
            format_number(number(entry, "perplexity")),
            format_number(number(entry, "mse_down_to_here")),
        ]
        for entry in entries(errors, "levels")
    ]
    return (
        table(["level", "codes in use", "never used", "perplexity", "MSE when decoded down to here"], rows)
        if rows
        else ""
    )


def accuracy_section(results: Mapping[str, Any]) -> Section:
    """Accuracy of classifiers on real images, by what they were trained on."""
    measured = part(results, "accuracy")
    found = {str(entry.get("trained_on")): entry for entry in entries(measured, "classifiers")}
    kinds = [*found, *(kind for kind in ACCURACIES if kind not in found)] if found else []
    rows = [_accuracy_row(kind, found.get(kind, {}), number(found.get("real"), "top1")) for kind in kinds]
    header = [
        *("trained on", "top-1, %", "of real", "top-5, %", "loss, nats"),
        *_small("paper, top-1, %", "of real", "paper, top-5, %"),
    ]
    return Section(
        key="accuracy",
        title="Classification accuracy score",
        answers=f"as table 2 of {PAPER}",
        lead="One classifier learns from real images, one from their reconstructions, one from samples alone, as many "
        "of each; all are tested on the same real held-out images. From real to reconstructions is what the "
        "tokenizer loses, from there to samples what the priors lose. <b>Good:</b> the three are close, and samples "
        "teach nearly as much as real images.",
        body=table(header, rows) + _accuracy_note(measured, found) + protocol(measured, "accuracies") if rows else "",
    )


def _accuracy_row(kind: str, ours: Mapping[str, Any], real: float | None) -> list[str]:
    top1, top5 = number(ours, "top1"), number(ours, "top5")
    row = [
        escape(kind),
        _percent(top1),
        format_percent(top1 / real if top1 is not None and real else None),
        _percent(top5),
        format_number(number(ours, "loss")),
    ]
    if kind not in ACCURACIES:
        return [*row, *_small(DASH, DASH, DASH)]
    their_top1, their_top5 = ACCURACIES[kind]
    return [*row, *_small(f"{their_top1:.2f}", format_percent(their_top1 / ACCURACIES["real"][0]), f"{their_top5:.2f}")]


def _accuracy_note(measured: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str:
    trained, tested = number(measured, "num_training_images"), number(measured, "num_validation_images")
    text = ""
    if trained is not None and tested:
        top1 = [value for entry in found.values() if (value := number(entry, "top1")) is not None]
        errors = [math.sqrt(value * (1.0 - value) / tested) for value in top1 if 0.0 <= value <= 1.0]
        text += f"Ours: {format_count(trained)} images of each kind at {image_size_words(measured)}, tested on "
        text += f"{format_count(tested)}"
        text += f"; top-1 is uncertain by about ±{100.0 * max(errors):.1f} (one standard error). " if errors else ". "
    text += (
        f"The paper: a ResNet-50 on {DATA}, 1,000 classes. Other classes, fewer images and a smaller network make "
        "other accuracies; what compares is the share of real. Top-5 says little where there are few classes."
    )
    return f'<p class="note">{text}</p>'


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100.0 * share:.2f}"


def _small(*cells: str) -> list[str]:
    """Set figures of others in small print."""
    return [f"<small>{cell}</small>" for cell in cells]
