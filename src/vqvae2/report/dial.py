"""Quality against diversity: scores against the acceptance rate, as charts, and samples at each rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqvae2.metrics.measurements import DialResult, RateScores
from vqvae2.metrics.results import Results, Strips
from vqvae2.report.distances import STANDARD_NETWORK, bias_note, frechet_name, score_cells, score_header
from vqvae2.report.figures import Axis, Line, line_chart
from vqvae2.report.frame import Section
from vqvae2.report.pictures import grid_strips
from vqvae2.report.published import DATA, PAPER, UNFILTERED, WITH_REJECTION
from vqvae2.report.text import escape, format_count, format_number, protocol, table

__all__ = ["dial_section"]


def dial_section(results: Results, directory: Path) -> Section:
    """Show scores against the acceptance rate, in features of each network, and samples at each rate."""
    parts, pictures = [], {}
    for index, (network, measured) in enumerate(results.dial.items()):
        rows = [
            [f"{row.acceptance_rate:g}", format_number(row.mean_score), *score_cells(row)] for row in measured.rates
        ]
        parts.append(f"<h3>In features of {escape(network)}</h3>{_words(network, measured)}")
        parts.append(f'<div class="charts">{_charts(f"dial-{index}", network, measured.rates)}</div>')
        parts.append(table(["acceptance rate", "mean score", *score_header(network)], rows))
        if network in results.quality:
            parts.append(bias_note(measured.protocol.num_images, results.quality[network].num_features))
        parts.append(protocol(measured.protocol, f"the dial, {escape(network)}"))
        labels = tuple(
            (f"rate {row.acceptance_rate:g}", f"mean score {format_number(row.mean_score, 2)}")
            for row in measured.rates
        )
        picture = Strips(file=measured.picture, title="", rows=labels)  # the same for every network
        pictures[measured.picture] = grid_strips(directory, picture, measured.protocol.image_size)
    parts += [f"<h3>The first samples that each rate keeps</h3>{strips}" for strips in pictures.values() if strips]
    note = (
        f'<p class="note">Published, in features of {STANDARD_NETWORK} and of {DATA}: FID {UNFILTERED.fid} and '
        f"Inception score {UNFILTERED.inception_score} unfiltered, {WITH_REJECTION.fid} and "
        f"{WITH_REJECTION.inception_score} with rejection. Other features and other data have distances of their own; "
        "what compares is the shape of the curves.</p>"
    )
    return Section(
        key="dial",
        title="Quality against diversity",
        answers=f"as figure 7 of {PAPER}",
        lead="A classifier keeps the samples that it is surest of: those of the highest score, the probability of the "
        "class that each was meant to have. The fewer it accepts, the better each looks, and the less they differ. All "
        "rates keep as many images, so that their distances compare. <b>Good:</b> towards lower rates, to the right, "
        "Inception score and precision rise, the Fréchet distance falls, and recall gives way slowly; where the "
        "distance turns up again, too much diversity is gone.",
        body="".join(parts) + note if parts else "",
    )


def _words(network: str, measured: DialResult) -> str:
    distances = {row.acceptance_rate: format_number(row.frechet_distance) for row in measured.rates}
    best, highest = measured.best_acceptance_rate, max(distances)
    text = (
        f"Each rate keeps {format_count(measured.protocol.num_images)} of up to {format_count(measured.num_samples)} "
        f"samples. The <b>best rate is {best:g}</b>: its {escape(frechet_name(network))} is the lowest, "
        f"{distances.get(best)}"
    )
    if best != highest:
        text += f", against {distances[highest]} at a rate of {highest:g}"
    return f"<p>{text}.</p>"


def _charts(name: str, network: str, rows: tuple[RateScores, ...]) -> str:
    """Draw six charts: four of scores against the rate, two of one score against another."""
    distance, rate, score = frechet_name(network), "acceptance_rate", "inception_score"
    labels = {rate: "acceptance rate, logarithmic", score: "Inception score", "recall": "recall"}
    charts = (
        ("distance", f"{distance}, lower is better", rate, "frechet_distance"),
        ("score", "Inception score, higher is better", rate, score),
        ("manifold", "Precision and recall", rate, "precision", "recall"),
        ("curve", f"{distance} against Inception score, by rate", score, "frechet_distance"),
        ("trade", "Precision against recall, by rate", "recall", "precision"),
        ("filling", "Density and coverage", rate, "density", "coverage"),
    )
    shown = []
    for key, title, x, *columns in charts:
        named = zip(columns, ("level-0", "level-1"), strict=True) if len(columns) > 1 else [("", "train")]
        lines = [
            _line(rows, x, label or columns[0], color, label=label, with_rates=x != rate) for label, color in named
        ]
        axis: Axis = "rates" if x == rate else "values"
        shown.append(line_chart(f"{name}-{key}", title, lines, x_label=labels[x], x_axis=axis, log=False))
    return "".join(shown)


def _line(rows: tuple[RateScores, ...], x: str, y: str, color: str, *, label: str, with_rates: bool) -> Line:
    points = np.array([(getattr(row, x), getattr(row, y), row.acceptance_rate) for row in rows])
    points = points[np.isfinite(points).all(axis=1)]
    notes = [f"{rate:g}" for rate in points[:, 2]] if with_rates else ()
    return Line(label=label, x=points[:, 0], y=points[:, 1], color=color, markers=True, notes=notes)
