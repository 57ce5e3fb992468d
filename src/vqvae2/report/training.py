"""How the models learned: use of the codebooks, and curves of the trainings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vqvae2.data import CodeStore, ordered_batches
from vqvae2.metrics.results import Results
from vqvae2.pipeline.folder import SHARP_FOLDER, TOKENIZER_FOLDER
from vqvae2.report.figures import Line, curve, line_chart, usage_chart
from vqvae2.report.frame import Section
from vqvae2.report.text import escape, folded, format_count, format_number, format_percent, table

__all__ = ["codebook_section", "training_section"]

_Log = Sequence[Mapping[str, float]]

_NUM_LEVEL_COLORS = 4


def codebook_section(results: Results, directory: Path) -> Section:
    """Show how each codebook is used: measures, and how often each code occurs."""
    levels = results.reconstruction.levels if results.reconstruction else ()
    rows = [
        [
            escape(level.name),
            format_count(level.num_embeddings),
            format_percent(level.usage),
            format_count(level.dead_codes),
            format_number(level.perplexity),
            format_number(level.mse_down_to_here),
        ]
        for level in levels
    ]
    header = ["level", "codes (K)", "in use", "never used", "perplexity", "MSE when decoded down to here"]
    charts = []
    for index, counts in enumerate(_code_counts(directory / "codes") if levels else []):
        used, size = int((counts > 0).sum()), len(counts)
        title = f"{levels[index].name}: {used:,} of {size:,} codes in use ({format_percent(used / size)})"
        charts.append(usage_chart(f"usage-{index}", title, counts, color=_color(index)))
    return Section(
        key="codebooks",
        title="Codebook usage",
        lead="How often each code occurs in held-out images. Perplexity says how many codes, all equally frequent, "
        "would be as varied. <b>Good:</b> nearly all codes are in use, and the curve falls gently; codes that are "
        "never used are wasted capacity.",
        body=table(header, rows) + _charts(charts) if rows else "",
    )


def _code_counts(folder: Path) -> list[np.ndarray]:
    """Count how often each code of each level occurs in held-out images, int64 `(K,)`; nothing without codes."""
    if not folder.exists():
        return []
    codes = CodeStore.open(folder)
    counts = [np.zeros(size, dtype=np.int64) for size in codes.num_embeddings]
    for batch in ordered_batches(codes.indices("validation"), 1024):
        for level, grid in enumerate(codes.batch(batch)):
            counts[level] += np.bincount(grid.numpy().reshape(-1), minlength=len(counts[level]))
    return counts


def training_section(results: Results, directory: Path) -> Section:
    """Show the curves of the trainings, and how each ended."""
    levels = results.likelihood.levels if results.likelihood and results.trainings else ()
    log, sharp_log = (
        _read_log(directory / folder) if results.trainings else [] for folder in (TOKENIZER_FOLDER, SHARP_FOLDER)
    )
    error, distance = ("reconstruction_mse", "validation_mse"), ("feature_distance", "validation_feature_distance")
    main = [_error_chart("tokenizer-error", "Tokenizer: mean squared error", log, *error)]
    for index, level in enumerate(levels):
        prior_log = _read_log(directory / f"prior-{level.name}")
        title = f"Prior of {level.name}: nats per code"
        main.append(_prior_chart(f"prior-{index}", title, prior_log, level.num_embeddings))
    main.append(_error_chart("sharp-error", "Sharp decoder: mean squared error", sharp_log, *error))
    main.append(_error_chart("sharp-distance", "Sharp decoder: distance in features", sharp_log, *distance))
    of_sharp = "; of a sharp decoder, which does not aim at the least error, the last one" if sharp_log else ""
    more = _charts(_more_charts(log, [level.name for level in levels]))
    return Section(
        key="training",
        title="Training curves",
        lead="Each model's error while it learned. The tokenizer's error is in pixel values from &minus;1 to&nbsp;1; "
        "a prior's is the surprise at each code, in nats, on held-out and on training images, and as its loss, with "
        "dropout. <b>Good:</b> all lines fall and then level off; a validation line that turns up again while the "
        "training line falls on means that the model is memorizing. The model of the lowest validation point is "
        f"kept{of_sharp}.",
        body=_charts(main) + _trainings_table(results) + (folded("More curves", more) if more else ""),
    )


def _error_chart(name: str, title: str, log: _Log, training: str, validation: str) -> str:
    lines = [_line(log, training, "training", "train"), _line(log, validation, "validation", "validation")]
    return line_chart(name, title, lines)


def _prior_chart(name: str, title: str, log: _Log, num_embeddings: int) -> str:
    lines = [
        _line(log, "loss", "loss, with dropout", "muted"),
        _line(log, "train_nats_per_code", "training images", "train"),
        _line(log, "validation_nats_per_code", "validation images", "validation"),
    ]
    drawn = [line for line in lines if len(line.x)]
    if drawn:
        ends = np.array([min(line.x[0] for line in drawn), max(line.x[-1] for line in drawn)])
        guessing = np.full(2, math.log(num_embeddings))
        lines.append(Line(label="guessing, ln K", x=ends, y=guessing, color="muted", dashed=True))
    return line_chart(name, title, lines)


def _more_charts(log: _Log, levels: Sequence[str]) -> list[str]:
    losses = [_line(log, "loss", "loss", "train"), _line(log, "quantizer", "the quantizers' part", "muted")]
    times = [
        _line(log, "step_seconds", "whole step", "train"),
        _line(log, "data_seconds", "of it, waiting for data", "muted"),
    ]
    return [
        line_chart("tokenizer-loss", "Tokenizer: loss with all its terms", losses),
        _level_chart(log, levels, "perplexity", "Codebook perplexity"),
        _level_chart(log, levels, "usage", "Share of codes in use"),
        line_chart("rate", "Tokenizer: learning rate", [_line(log, "learning_rate", "", "train")], log=False),
        line_chart("step-seconds", "Tokenizer: seconds a step", times),
    ]


def _level_chart(log: _Log, levels: Sequence[str], column: str, title: str) -> str:
    lines = [_line(log, f"{column}_{index}", name, _color(index)) for index, name in enumerate(levels)]
    return line_chart(f"training-{column}", title, lines, log=False)


def _line(log: _Log, column: str, label: str, color: str) -> Line:
    x, y = curve(log, column)
    is_sparse = column.startswith(("validation_", "train_")) and len(x) <= 40
    return Line(label=label, x=x, y=y, color=color, markers=is_sparse)


def _trainings_table(results: Results) -> str:
    """Say how far each training went, which step's model it kept, and why it ended."""
    rows = []
    for name, found in results.trainings.items():
        kept = format_count(found.best_step)
        done = found.last_step >= found.planned_steps
        end = "all steps done" if done else f"stopped: no better validation since step {kept}"
        rows.append([escape(name), format_count(found.planned_steps), format_count(found.last_step), kept, end])
    return table(["training", "planned steps", "last step", "kept model of step", "end"], rows) if rows else ""


def _read_log(folder: Path) -> _Log:
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _charts(charts: Sequence[str]) -> str:
    joined = "".join(charts)
    return f'<div class="charts">{joined}</div>' if joined else ""


def _color(level: int) -> str:
    return f"level-{level % _NUM_LEVEL_COLORS}"
