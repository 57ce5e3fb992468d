"""Charts as SVG that goes inside the page and takes its colours from the page's style, light or dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vqvae2.report.text import escape

if TYPE_CHECKING:  # matplotlib is imported where a chart is drawn, since that takes half a second
    from matplotlib.axes import Axes

__all__ = ["Axis", "Line", "curve", "line_chart", "usage_chart"]

# Matplotlib needs a colour, the page needs a variable: each of these stands for one until the SVG is written.
_STAND_INS = {
    "muted": "#010204",
    "grid": "#010205",
    "train": "#010206",
    "validation": "#010207",
    "level-0": "#010208",
    "level-1": "#010209",
    "level-2": "#01020a",
    "level-3": "#01020b",
}
_MOST_POINTS = 600

Axis = Literal["counts", "values", "rates"]
"""What runs to the right: whole numbers, any numbers, or rates, the highest first and on a logarithmic scale."""
# Of an axis of rates: more would run into each other.
_MOST_MARKS = 10
# Inches at 72 points each: about the width of a phone, so that nothing is scaled down to be unreadable.
_SIZE_INCHES = (5.0, 2.9)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart."""

    label: str
    x: np.ndarray
    y: np.ndarray
    color: str
    """train, validation, muted, or level-0 to level-3; the page's style says what that looks like."""
    markers: bool = False
    dashed: bool = False
    notes: Sequence[str] = ()
    """What stands beside each point; nothing if empty."""


def curve(rows: Sequence[Mapping[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Take steps and values of one column of a log, where it is there and finite, thinned to 600 points at most."""
    found = [(row["step"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
    points = np.array(found, dtype=np.float64).reshape(-1, 2)
    if len(points) > _MOST_POINTS:
        points = points[np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(np.int64)]
    return points[:, 0], points[:, 1]


def line_chart(
    name: str,
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str = "step",
    x_axis: Axis = "counts",
    log: bool | None = None,
) -> str:
    """Draw lines against training steps, or whatever `x_label` says.

    Args:
        name: Unique in the page.
        title: Of the chart, with the unit.
        lines: Those without points are left out.
        x_label: What runs to the right.
        x_axis: Of which kind that is.
        log: Whether the vertical axis is logarithmic; None to let the values decide.

    Returns:
        A `<figure>`, or nothing if no line has points.
    """
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return ""
    values = np.concatenate([line.y for line in lines])
    if log is None:
        log = bool(values.min() > 0 and values.max() > 8.0 * values.min())

    def draw(axes: Axes) -> None:
        for line in lines:
            axes.plot(
                line.x,
                line.y,
                color=_STAND_INS[line.color],
                linewidth=1.2 if line.dashed else 1.5,
                linestyle=(0, (4, 3)) if line.dashed else "-",
                marker="o" if line.markers or len(line.x) == 1 else None,
                markersize=3.5,
            )
            for x, y, note in zip(line.x, line.y, line.notes, strict=False):
                axes.annotate(note, (x, y), (5, 4), textcoords="offset points", fontsize=9.0, color=_STAND_INS["muted"])
        _label_axes(axes, x_label, log=log)
        if x_axis != "counts":
            _place_marks(axes, np.concatenate([line.x for line in lines]), x_axis)
        axes.margins(x=0.08 if any(line.notes for line in lines) else 0.02)

    keys = [(line.label, line.color, "dashed" if line.dashed else "solid") for line in lines] if len(lines) > 1 else []
    scale = ", logarithmic scale" if log else ""
    return _figure(name, title, f"{title} against {x_label}{scale}", keys, draw)


def usage_chart(name: str, title: str, counts: np.ndarray, *, color: str) -> str:
    """Draw how often each code is used, the most used first, next to what equal use would be.

    Args:
        name: Unique in the page.
        title: Of the chart.
        counts: int64 `(K,)`; without any, there is no figure.
        color: One of `Line.color`.
    """
    total = int(counts.sum())
    if not total:
        return ""
    size = len(counts)
    shares = 100.0 * np.sort(counts[counts > 0])[::-1] / total
    ranks = np.arange(len(shares) + 1, dtype=np.float64)
    if len(ranks) > _MOST_POINTS:
        ranks = np.unique(np.linspace(0, len(shares), _MOST_POINTS).round())
    heights = shares[np.minimum(ranks.astype(np.int64), len(shares) - 1)]

    def draw(axes: Axes) -> None:
        floor = min(shares[-1], 100.0 / size) / 2.0
        axes.fill_between(ranks, heights, floor, step="post", color=_STAND_INS[color], alpha=0.25, linewidth=0)
        axes.step(ranks, heights, where="post", color=_STAND_INS[color], linewidth=1.5)
        axes.axhline(100.0 / size, color=_STAND_INS["muted"], linewidth=1.0, linestyle=(0, (4, 3)))
        if len(shares) < size:
            axes.axvspan(len(shares), size, color=_STAND_INS["muted"], alpha=0.15, linewidth=0)
        _label_axes(axes, "codes, most used first", log=True)
        axes.set_xlim(0, size)
        axes.set_ylim(floor, shares[0] * 1.5)

    keys = [("share of all positions, %", color, "solid"), ("if all were used equally", "muted", "dashed")]
    if len(shares) < size:
        keys.append(("never used", "muted", "area"))
    return _figure(name, title, f"{title}: share of positions of each code, in percent", keys, draw)


def _label_axes(axes: Axes, x_label: str, *, log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_xlabel(x_label)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        decades = math.log10(high / low)
        subs = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y", color=_STAND_INS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelcolor=_STAND_INS["muted"])
    axes.xaxis.label.set_color(_STAND_INS["muted"])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_STAND_INS["grid"])


def _place_marks(axes: Axes, x: np.ndarray, x_axis: Axis) -> None:
    """Mark values instead of whole numbers, or those rates that were measured, as far as there is room."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if x_axis == "values":
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return
    rates = np.unique(x)[::-1]
    room = math.log(rates[0] / rates[-1]) / _MOST_MARKS
    marks = [rates[0]]
    for rate in rates[1:]:
        if math.log(marks[-1] / rate) >= room:
            marks.append(rate)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.invert_xaxis()


def _figure(
    name: str, title: str, description: str, keys: Sequence[tuple[str, str, str]], draw: Callable[[Axes], None]
) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Text stays text (small, and in the page's font); the salt makes the same data give the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11.0, "axes.unicode_minus": True}):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    legend = "".join(
        f'<span class="key"><i class="{kind}" style="color: var(--{color})"></i>{escape(label)}</span>'
        for label, color, kind in keys
    )
    svg = _inline(buffer.getvalue(), name, description)
    return f"<figure><figcaption><b>{escape(title)}</b> {legend}</figcaption>{svg}</figure>"


def _inline(svg: str, name: str, description: str) -> str:
    """Turn a document of matplotlib's into an element of the page: no ids that clash, no fonts, no fixed colours."""
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    body = svg[svg.index(">", view.end()) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # it would apply to the whole page
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    referenced = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in referenced else "", body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\g<1>#{name}-", body)
    for color, stand_in in _STAND_INS.items():
        body = body.replace(stand_in, f"var(--{color})")
    body = re.sub(r"\s*\n\s*", " ", body)
    return f'<svg {view[0]} role="img" aria-label="{escape(description)}">{body}</svg>'
