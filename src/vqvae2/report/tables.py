"""The tables of the trainings and of the likelihoods, with what follows from them; and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vqvae2.report.levels import Level
from vqvae2.report.text import escape, format_count, format_number, format_percent, format_seconds, number, table

__all__ = ["likelihood_table", "time_bars", "trainings_table"]

# A gap above this share of the cost is called memorizing.
_LARGE_GAP = 0.1


def trainings_table(results: Mapping[str, Any]) -> str:
    """Say how far each training went, which step's model it kept, and why it ended; nothing if that is not known."""
    given = results.get("trainings")
    rows = []
    for name in given if isinstance(given, Mapping) else {}:
        planned, last, best = (number(given, name, key) for key in ("planned_steps", "last_step", "best_step"))
        if planned is None or last is None:
            continue
        end = "all steps done" if last >= planned else f"stopped: no better validation since step {format_count(best)}"
        rows.append([escape(name), format_count(planned), format_count(last), format_count(best), end])
    return table(["training", "planned steps", "last step", "kept model of step", "end"], rows) if rows else ""


def likelihood_table(levels: Sequence[Level]) -> str:
    """Set each prior's cost of a code beside the baselines and its cost on training images, and judge the gap."""
    measured = [level for level in levels if level.nll_nats is not None]
    if not measured:
        return ""
    rows = [
        [
            f"{escape(level.name)} <small>{escape(level.grid)}</small>",
            f"<b>{format_number(level.nll_nats)}</b>",
            format_number(level.given_above_nats),
            format_number(level.unigram_nats),
            format_number(level.uniform_nats),
            format_percent(level.saved),
            format_number(level.train_nll_nats),
            format_number(level.gap_nats, 2),
            format_number(level.nll_bits),
        ]
        for level in measured
    ]
    header = [
        *("nats per code", "prior", "code above alone", "frequency alone", "guessing, ln K", "saved"),
        *("prior, training images", "gap", "prior, bits per code"),
    ]
    return table(header, rows) + _judgement(measured)


def time_bars(seconds: Mapping[str, float]) -> str:
    """Set the durations of stages beside bars of their lengths; nothing if there are none."""
    longest = max([*seconds.values(), 1e-9])
    bars = "".join(
        f"<dt>{escape(name)}</dt><dd>{format_seconds(value)}</dd>"
        f'<dd class="track"><div class="bar" style="width: {100.0 * value / longest:.1f}%"></div></dd>'
        for name, value in seconds.items()
    )
    return f'<dl class="times">{bars}</dl>' if bars else ""


def _judgement(levels: Sequence[Level]) -> str:
    shares = {level.name: level.gap_share for level in levels if level.gap_share is not None}
    if not shares:
        return ""
    large = [escape(name) for name, share in shares.items() if share > _LARGE_GAP]
    if not large:
        return "<p>No gap is above a tenth of the cost: no prior overfits much; longer training may still help.</p>"
    whose = f"The prior of {large[0]} overfits" if len(large) == 1 else f"The priors of {' and '.join(large)} overfit"
    return (
        f"<p>{whose}: the gap is above a tenth of the cost, and more steps alone will not help. What helps is more "
        "images, <code>horizontal_flips</code> if that is off and a mirrored image is as good as the image, a higher "
        "<code>dropout</code>, or a smaller network.</p>"
    )
