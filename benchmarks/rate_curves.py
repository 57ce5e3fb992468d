"""Draws quality against size: a panel a measure, a line a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter

__all__ = ["Point", "plot_points"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """What files of one format at one setting take, and how near they come to the images."""

    format: str
    setting: str
    mean_bytes: float
    bits_per_pixel: float
    psnr_db: float | None
    """None where nothing is lost."""
    ssim: float | None
    """None where images are smaller than its window."""
    distance: float | None
    """Mean distance of an image from its reconstruction in a network's features."""


# Okabe and Ito's colours, which the colour-blind tell apart, and a marker each.
_LOOKS = {
    "JPEG": ("#E69F00", "s"),
    "WebP": ("#0072B2", "^"),
    "AVIF": ("#009E73", "D"),
    "JPEG 2000": ("#CC79A7", "v"),
}
_OURS, _OUR_COLOR, _QUIET_COLOR = "vqvae2", "#222222", "#777777"
_OUR_SETTINGS = ("top only", "prior", "raw")
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
_MOST_PSNR_DB = 45.0  # above, differences cannot be seen
_HALO = withStroke(linewidth=2.5, foreground="white")


def plot_points(points: Sequence[Point], path: Path, *, network: str | None) -> None:
    """Draw all points into a file, SVG or PNG by its name.

    Args:
        points: Those of a format in the order of their sizes.
        path: The file.
        network: Name of the one whose distances the points have.
    """
    panels = [("psnr_db", "PSNR, dB"), ("ssim", "SSIM"), ("distance", f"distance in {network} features")]
    lossy = [point for point in points if point.psnr_db is not None]
    panels = [(name, label) for name, label in panels if any(getattr(point, name) is not None for point in lossy)]
    with rc_context({"svg.hashsalt": "codec", "font.size": 9.0}):  # the same points give the same file
        figure = Figure(figsize=(4.0 * len(panels), 3.9), layout="constrained")
        for axes, (name, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _lay_out(axes, points)
            _draw_others(axes, lossy, name)
            _draw_ours(axes, {point.setting: point for point in lossy if point.format == _OURS}, name)
            if name == "psnr_db":
                axes.set_ylim(top=min(axes.get_ylim()[1], _MOST_PSNR_DB))
            for point in points:
                if point.psnr_db is None:
                    _mark_lossless(axes, point, at_top=name == "distance")
            axes.set_title(label + (" (less is better)" if name == "distance" else ""), loc="left", fontsize=10)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=10)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _lay_out(axes: Axes, points: Sequence[Point]) -> None:
    low, high = (limit(point.bits_per_pixel for point in points) for limit in (min, max))
    low, high = low / 2.8, high * 1.2  # with room for the name of our smallest point
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in _TICKS if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.minorticks_off()
    axes.set_xlabel("bits per pixel, whole files")
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_others(axes: Axes, points: Sequence[Point], name: str) -> None:
    for format_name, (color, marker) in _LOOKS.items():
        line = [point for point in points if point.format == format_name]
        if line:
            axes.plot(
                [point.bits_per_pixel for point in line],
                [getattr(point, name) for point in line],
                color=color,
                marker=marker,
                markersize=3.5,
                linewidth=1.4,
                label=format_name,
            )


def _draw_ours(axes: Axes, ours: dict[str, Point], name: str) -> None:
    """Draw our settings, the raw one hollow, each named on a side where the other formats' lines are not."""
    raw_below = name != "distance"
    places = {setting: (ours[setting].bits_per_pixel, getattr(ours[setting], name)) for setting in ours}
    axes.plot(*zip(places["prior"], places["raw"], strict=True), color=_OUR_COLOR, linestyle=":", linewidth=1.2)
    for setting in _OUR_SETTINGS:
        if setting not in places:
            continue
        axes.plot(
            *places[setting],
            color=_OUR_COLOR,
            marker="o",
            markersize=6.5,
            markerfacecolor="white" if setting == "raw" else _OUR_COLOR,
            linewidth=0,
            label=_OURS if setting == "prior" else None,
            zorder=3,
        )
        axes.annotate(
            setting,
            places[setting],
            xytext=(-1, -6 if raw_below else 6) if setting == "raw" else (-7, 0),
            textcoords="offset points",
            ha="right",
            va="center" if setting != "raw" else "top" if raw_below else "bottom",
            color=_OUR_COLOR,
            path_effects=[_HALO],
            zorder=4,
        )


def _mark_lossless(axes: Axes, point: Point, *, at_top: bool) -> None:
    axes.axvline(point.bits_per_pixel, color=_QUIET_COLOR, linestyle=":", linewidth=0.8, zorder=0)
    axes.text(
        point.bits_per_pixel,
        0.98 if at_top else 0.02,
        point.format,
        transform=axes.get_xaxis_transform(),
        rotation=90,
        ha="right",
        va="top" if at_top else "bottom",
        fontsize=7,
        color=_QUIET_COLOR,
    )
