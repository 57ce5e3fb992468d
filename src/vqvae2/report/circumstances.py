"""What the numbers were made with, what was left out, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from vqvae2.metrics.results import Results
from vqvae2.report.frame import Section
from vqvae2.report.text import escape, folded, format_count, format_seconds, settings, table

__all__ = ["circumstances_section", "left_out_section", "next_section"]

_COUNTS = {
    "train": "training images",
    "validation": "validation images",
    "skipped": "files that could not be read",
    "samples": "samples drawn",
    "compared": "images of each set that is compared",
}


def left_out_section(results: Results) -> Section:
    """Show what was not measured, and why."""
    rows = [[escape(name), escape(reason)] for name, reason in results.left_out.items()]
    return Section(
        key="left-out",
        title="Left out",
        lead="What was not measured, and why.",
        body=table([], rows, kind="settings") if rows else "",
    )


def circumstances_section(results: Results) -> Section:
    """Show counts, times, config, models, versions and machine."""
    counts = asdict(results.num_images)
    rows = [[words, format_count(counts[key])] for key, words in _COUNTS.items() if counts[key] is not None]
    body = table(["images", "count"], rows)
    if results.seconds:
        body += f"<h3>Time of each stage; {format_seconds(sum(results.seconds.values()))} in all</h3>"
        longest = max([*results.seconds.values(), 1e-9])
        bars = "".join(
            f"<dt>{escape(name)}</dt><dd>{format_seconds(value)}</dd>"
            f'<dd class="track"><div class="bar" style="width: {100.0 * value / longest:.1f}%"></div></dd>'
            for name, value in results.seconds.items()
        )
        body += f'<dl class="times">{bars}</dl>'
    hashes = {name: value for name, value in asdict(results.pipeline).items() if value != ""}
    for title, values in (
        ("Config", results.config),
        ("Pipeline", {"decoder": results.decoder} | hashes),
        ("Versions", results.versions),
        ("Machine", asdict(results.machine)),
    ):
        body += folded(title, settings(values))
    return Section(
        key="circumstances",
        title="Counts, time and machine",
        lead="What the numbers were made with, and all that is needed to repeat them. A number is only as good as the "
        "count of images behind it.",
        body=body,
    )


def next_section(steps: Sequence[str]) -> Section:
    """Show commands to try next."""
    items = "".join(f"<li><code>{escape(step)}</code></li>" for step in steps)
    body = f'<ol class="steps">{items}</ol>' if items else ""
    return Section(key="next", title="Next steps", lead="Commands to try now.", body=body)
