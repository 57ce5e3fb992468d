"""Quality against diversity: scores against the acceptance rate, as charts, and samples at each rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.report.evaluation_protocol import image_size, protocol
from vqvae2.report.evaluation_scores import STANDARD_NETWORK, bias_note, frechet_name, score_cells, score_header
from vqvae2.report.figures import Line, line_chart
from vqvae2.report.frame import Section
from vqvae2.report.pictures import grid_strips
from vqvae2.report.published import DATA, PAPER, UNFILTERED, WITH_REJECTION
from vqvae2.report.text import entries, escape, format_count, format_number, number, part, table

__all__ = ["dial_section"]


def dial_section(results: Mapping[str, Any], directory: Path) -> Section:
    """Scores against the acceptance rate, in features of each network, and samples at each rate."""
    parts, pictures = [], {}
    for index, network in enumerate(part(results, "dial")):
        measured = part(results, "dial", network)
        rows = [row for row in entries(measured, "rates") if (number(row, "acceptance_rate") or 0.0) > 0.0]
        if not rows:
            continue
        parts.append(f"<h3>In features of {escape(network)}</h3>{_words(network, measured, rows)}")
        parts.append(f'<div class="charts">{_charts(f"dial-{index}", network, rows)}</div>{_table(network, rows)}')
        parts.append(bias_note(measured, number(results, "quality", network, "num_features")))
        parts.append(protocol(measured, f"the dial, {escape(network)}"))
        name = str(measured.get("picture"))
        if name not in pictures:  # every network looks at the same samples
            pictures[name] = grid_strips(directory, name, image_size(measured), list(map(_label, rows)))
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


def _words(network: str, measured: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    kept, pool = number(measured, "protocol", "num_images"), number(measured, "num_samples")
    best = number(measured, "best_acceptance_rate")
    distances = {number(row, "acceptance_rate"): number(row, "frechet_distance") for row in rows}
    text = f"Each rate keeps {format_count(kept)} of up to {format_count(pool)} samples."
    if best in distances:
        highest = max(rate for rate in distances if rate is not None)
        text += f" The <b>best rate is {best:g}</b>: its {escape(frechet_name(network))} is the lowest, "
        text += f"{format_number(distances[best])}"
        if best != highest:
            text += f", against {format_number(distances[highest])} at a rate of {highest:g}"
        text += "."
    return f"<p>{text}</p>"


def _label(row: Mapping[str, Any]) -> tuple[str, str]:
    score = number(row, "mean_score")
    return f"rate {number(row, 'acceptance_rate'):g}", "" if score is None else f"mean score {format_number(score, 2)}"


def _charts(name: str, network: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw six charts: three of one score against the rate, three of one score against another."""
    distance = frechet_name(network)

    def against_rate(key: str, title: str, lines: Mapping[str, tuple[str, str]]) -> str:
        drawn = [_line(rows, "acceptance_rate", column, label, color) for column, (label, color) in lines.items()]
        return line_chart(
            f"{name}-{key}", title, drawn, x_label="acceptance rate, logarithmic", x_axis="rates", log=False
        )

    def against(key: str, title: str, x: str, y: str, x_label: str) -> str:
        drawn = [_line(rows, x, y, "", "train", with_rates=True)]
        return line_chart(f"{name}-{key}", title, drawn, x_label=x_label, x_axis="values", log=False)

    fidelity, diversity = "level-0", "level-1"
    return "".join(
        [
            against_rate("distance", f"{distance}, lower is better", {"frechet_distance": ("", "train")}),
            against_rate("score", "Inception score, higher is better", {"inception_score": ("", "train")}),
            against_rate(
                "manifold",
                "Precision and recall",
                {"precision": ("precision", fidelity), "recall": ("recall", diversity)},
            ),
            against(
                "curve",
                f"{distance} against Inception score, by rate",
                "inception_score",
                "frechet_distance",
                "Inception score",
            ),
            against("trade", "Precision against recall, by rate", "recall", "precision", "recall"),
            against_rate(
                "filling",
                "Density and coverage",
                {"density": ("density", fidelity), "coverage": ("coverage", diversity)},
            ),
        ]
    )


def _line(
    rows: Sequence[Mapping[str, Any]], x: str, y: str, label: str, color: str, *, with_rates: bool = False
) -> Line:
    points = [(number(row, x), number(row, y), number(row, "acceptance_rate")) for row in rows]
    known = [(a, b, rate) for a, b, rate in points if a is not None and b is not None and np.isfinite([a, b]).all()]
    return Line(
        label=label,
        x=np.array([a for a, _, _ in known]),
        y=np.array([b for _, b, _ in known]),
        color=color,
        markers=True,
        notes=[f"{rate:g}" for _, _, rate in known] if with_rates else (),
    )


def _table(network: str, rows: Sequence[Mapping[str, Any]]) -> str:
    header = ["acceptance rate", "mean score", *score_header(network)]
    return table(
        header,
        [
            [f"{number(row, 'acceptance_rate'):g}", format_number(number(row, "mean_score")), *score_cells(row)]
            for row in rows
        ],
    )
