"""What the model loses and what its codes cost: the paper's tables 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Iterable

from vqvae2.metrics.measurements import AccuracyResult, ClassifierAccuracy, LevelLikelihood
from vqvae2.metrics.results import Results
from vqvae2.report.frame import Section
from vqvae2.report.published import ACCURACIES, DATA, MSE, NLL_NATS, PAPER
from vqvae2.report.text import (
    DASH,
    decoded_by,
    escape,
    format_count,
    format_number,
    format_percent,
    format_size,
    protocol,
    table,
)

__all__ = ["accuracy_section", "likelihood_section"]

# A gap above this share of the cost is called overfitting.
_LARGE_GAP = 0.1
_NONE = (DASH, DASH)


def likelihood_section(results: Results) -> Section:
    """Show errors of pixels and likelihoods of codes, on training and on held-out images."""
    errors, costs = results.reconstruction, results.likelihood
    rows, parts = [], []
    if costs is not None:
        for level in costs.levels:
            costs_of = (level.train_nll_nats_per_code, level.nll_nats_per_code)
            rows.append(_row(f"NLL {escape(level.name)}, nats per code", costs_of, NLL_NATS.get(level.name, _NONE)))
        rows.append(_row("bits per pixel, by the priors", (None, costs.bits_per_pixel)))
        rows.append(_row("bits per pixel and channel", (None, costs.bits_per_dim)))
        parts = ["<h3>Likelihoods beside what counts of codes cost</h3>", _cost_table(costs.levels)]
        parts += [_judgement(costs.levels), protocol(costs.protocol, "likelihoods")]
    if errors is not None:
        pair = (errors.train, errors.validation)
        for words, name, published in (("MSE", "mse", MSE), ("PSNR, dB", "psnr_db", _NONE), ("SSIM", "ssim", _NONE)):
            ours = [getattr(part, name, None) for part in pair]  # no training images may have been measured
            if ours[1] is not None:
                rows.append(_row(words, ours, published))
        counts = [format_count(getattr(part, "num_images", None)) for part in pair]
        rows.append(["images measured", *counts, *_small(*_NONE)])
        parts.append(protocol(errors.protocol, "reconstructions"))
    sizes = [format_size(part.protocol.image_size) for part in (costs, errors) if part is not None]
    note = (
        f'<p class="note">The paper: {DATA}; the range of the pixels of its MSE is not stated. Ours: images at '
        f"{sizes[0]}{decoded_by(results.decoder)}, MSE in [&minus;1, 1]. Only likelihoods of like tokenizers compare: "
        "codes of other data, or of another tokenizer, cost more or less by as good a prior.</p>"
        if sizes
        else ""
    )
    header = ["", "training", "validation", *_small("paper, training", "paper, validation")]
    return Section(
        key="likelihood",
        title="Error and likelihood",
        answers=f"as table 1 of {PAPER}",
        lead="What the tokenizer loses of images, and what their codes cost by the priors: beside each prior, what "
        "counts of training codes would cost, how frequent each is at all or under the code above it. <b>Good:</b> the "
        "error is low, each prior costs well below all counts, and what held-out images cost is close to what training "
        "images cost; a large gap means that the prior has memorized.",
        body=table(header, rows) + note + "".join(parts) if rows else "",
    )


def _row(words: str, ours: Iterable[float | None], published: tuple[str, str] = _NONE) -> list[str]:
    return [words, *map(format_number, ours), *_small(*published)]


def _cost_table(levels: tuple[LevelLikelihood, ...]) -> str:
    header = [
        *("nats per code", "prior", "code above alone", "frequency alone", "guessing, ln K", "saved"),
        *("prior, training images", "gap", "prior, bits per code"),
    ]
    rows = [
        [
            f"{escape(level.name)} <small>{format_size(level.shape)}</small>",
            f"<b>{format_number(level.nll_nats_per_code)}</b>",
            format_number(level.given_above_nats_per_code),
            format_number(level.unigram_nats_per_code),
            format_number(level.uniform_bits_per_code * math.log(2.0)),
            format_percent(level.uniform_bits_per_code - level.nll_bits_per_code, level.uniform_bits_per_code),
            format_number(level.train_nll_nats_per_code),
            format_number(level.gap_nats_per_code, 2),
            format_number(level.nll_bits_per_code),
        ]
        for level in levels
    ]
    return table(header, rows)


def _judgement(levels: tuple[LevelLikelihood, ...]) -> str:
    large = [level.name for level in levels if level.gap_nats_per_code > _LARGE_GAP * level.nll_nats_per_code]
    if not large:
        return "<p>No gap is above a tenth of the cost: no prior overfits much; longer training may still help.</p>"
    names = escape(" and ".join(large))
    whose = f"The prior of {names} overfits" if len(large) == 1 else f"The priors of {names} overfit"
    return (
        f"<p>{whose}: the gap is above a tenth of the cost, and more steps alone will not help. What helps is more "
        "images, <code>horizontal_flips</code> if that is off and a mirrored image is as good as the image, a higher "
        "<code>dropout</code>, or a smaller network.</p>"
    )


def accuracy_section(results: Results) -> Section:
    """Show the accuracy of classifiers on real images, by what they were trained on."""
    measured, body = results.accuracy, ""
    if measured is not None:
        found = {row.trained_on: row for row in measured.classifiers}
        real = found["real"].top1 if "real" in found else None
        rows = [_accuracy_row(kind, found.get(kind), real) for kind in dict.fromkeys((*found, *ACCURACIES))]
        header = [
            *("trained on", "top-1, %", "of real", "top-5, %", "loss, nats"),
            *_small("paper, top-1, %", "of real", "paper, top-5, %"),
        ]
        body = table(header, rows) + _accuracy_note(measured) + protocol(measured.protocol, "accuracies")
    return Section(
        key="accuracy",
        title="Classification accuracy score",
        answers=f"as table 2 of {PAPER}",
        lead="One classifier learns from real images, one from their reconstructions, one from samples alone, as many "
        "of each; all are tested on the same real held-out images. From real to reconstructions is what the "
        "tokenizer loses, from there to samples what the priors lose. <b>Good:</b> the three are close, and samples "
        "teach nearly as much as real images.",
        body=body,
    )


def _accuracy_row(kind: str, ours: ClassifierAccuracy | None, real: float | None) -> list[str]:
    row = [escape(kind), DASH, DASH, DASH, DASH]
    if ours is not None:
        top5 = DASH if ours.top5 is None else f"{100.0 * ours.top5:.2f}"
        row[1:] = [f"{100.0 * ours.top1:.2f}", format_percent(ours.top1, real), top5, format_number(ours.loss)]
    if kind not in ACCURACIES:
        return [*row, *_small(DASH, DASH, DASH)]
    published, published5 = ACCURACIES[kind]
    return [*row, *_small(f"{published:.2f}", format_percent(published, ACCURACIES["real"][0]), f"{published5:.2f}")]


def _accuracy_note(measured: AccuracyResult) -> str:
    tested = measured.num_validation_images
    errors = [math.sqrt(row.top1 * (1.0 - row.top1) / tested) for row in measured.classifiers]
    return (
        f'<p class="note">Ours: {format_count(measured.num_training_images)} images of each kind at '
        f"{format_size(measured.protocol.image_size)}, tested on {format_count(tested)}; top-1 is uncertain by about "
        f"±{100.0 * max(errors):.1f} (one standard error). The paper: a ResNet-50 on {DATA}, 1,000 classes. Other "
        "classes, fewer images and a smaller network make other accuracies; what compares is the share of real. Top-5 "
        "says little where there are few classes.</p>"
    )


def _small(*cells: str) -> list[str]:
    """Set figures of others in small print."""
    return [f"<small>{cell}</small>" for cell in cells]
