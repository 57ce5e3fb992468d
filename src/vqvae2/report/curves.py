"""Which charts the page has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vqvae2.report.data import ReportData
from vqvae2.report.figures import Line, curve, line_chart, usage_chart
from vqvae2.report.text import format_percent

__all__ = ["codebook_charts", "training_charts"]

_NUM_LEVEL_COLORS = 4


def codebook_charts(data: ReportData) -> str:
    """Draw the usage of each level's codebook."""
    charts = []
    for level, counts in enumerate(data.code_counts):
        used = int((counts > 0).sum())
        title = f"{_name(data, level)}: {used:,} of {len(counts):,} codes in use"
        if len(counts):
            title += f" ({format_percent(used / len(counts))})"
        charts.append(usage_chart(f"usage-{level}", title, counts, color=_color(level)))
    return "".join(charts)


def training_charts(data: ReportData) -> tuple[str, str]:
    """Draw the logs: charts of the errors, and charts that are for the curious."""
    rows = data.tokenizer_curve
    errors = [
        _line(rows, "reconstruction_mse", "training", "train"),
        _line(rows, "validation_mse", "validation", "validation"),
    ]
    main = [line_chart("tokenizer-error", "Tokenizer: mean squared error", errors)]
    for level, curve_rows in enumerate(data.prior_curves):
        main.append(_prior_chart(data, level, curve_rows))
    losses = [_line(rows, "loss", "loss", "train"), _line(rows, "quantizer", "the quantizers' part", "muted")]
    more = [
        line_chart("tokenizer-loss", "Tokenizer: loss with all its terms", losses),
        _levels_chart(data, "perplexity", "Codebook perplexity"),
        _levels_chart(data, "usage", "Share of codes in use"),
        line_chart("rate", "Tokenizer: learning rate", [_line(rows, "learning_rate", "", "train")], log=False),
    ]
    times = [
        _line(rows, "step_seconds", "whole step", "train"),
        _line(rows, "data_seconds", "of it, waiting for data", "muted"),
    ]
    more.append(line_chart("step-seconds", "Tokenizer: seconds a step", times))
    return "".join(main), "".join(more)


def _prior_chart(data: ReportData, level: int, rows: Sequence[Mapping[str, float]]) -> str:
    lines = [
        _line(rows, "loss", "loss, with dropout", "muted"),
        _line(rows, "train_nats_per_code", "training images", "train"),
        _line(rows, "validation_nats_per_code", "validation images", "validation"),
    ]
    drawn = [line for line in lines if len(line.x)]
    if drawn and level < len(data.num_embeddings):
        ends = [min(line.x[0] for line in drawn), max(line.x[-1] for line in drawn)]
        x, y = curve([{"step": step, "value": math.log(data.num_embeddings[level])} for step in ends], "value")
        lines.append(Line(label="guessing, ln K", x=x, y=y, color="muted", dashed=True))
    return line_chart(f"prior-{level}", f"Prior of {_name(data, level)}: nats per code", lines)


def _levels_chart(data: ReportData, column: str, title: str) -> str:
    rows, lines = data.tokenizer_curve, []
    for level in range(len(data.level_names)):
        # Logs name what was measured on validation images with a prefix.
        for name in (f"{column}_{level}", f"validation_{column}_{level}"):
            line = _line(rows, name, _name(data, level), _color(level))
            if len(line.x):
                lines.append(line)
                break
    return line_chart(f"training-{column}", title, lines, log=False)


def _line(rows: Sequence[Mapping[str, float]], column: str, label: str, color: str) -> Line:
    x, y = curve(rows, column)
    is_sparse = column.startswith(("validation_", "train_")) and len(x) <= 40
    return Line(label=label, x=x, y=y, color=color, markers=is_sparse)


def _name(data: ReportData, level: int) -> str:
    return data.level_names[level] if level < len(data.level_names) else f"level {level}"


def _color(level: int) -> str:
    return f"level-{level % _NUM_LEVEL_COLORS}"
