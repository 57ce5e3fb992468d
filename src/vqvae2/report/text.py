"""Numbers and words as HTML. Every string that enters the page from outside is escaped with `escape`."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vqvae2.config import DecoderName
from vqvae2.metrics.measurements import MeasuringProtocol

__all__ = [
    "DASH",
    "MINUS",
    "TIMES",
    "decoded_by",
    "escape",
    "flatten",
    "folded",
    "format_count",
    "format_number",
    "format_percent",
    "format_seconds",
    "format_size",
    "protocol",
    "settings",
    "table",
]

DASH, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


def escape(text: object) -> str:
    """Make any text harmless in HTML, as content or inside a quoted attribute."""
    return html.escape(str(text), quote=True)


def decoded_by(decoder: DecoderName) -> str:
    """Name a second decoder, to follow a noun; nothing of the tokenizer's own."""
    return ", decoded by the sharp decoder" if decoder == "sharp" else ""


def format_number(value: float | None, digits: int = 3) -> str:
    """Write a number with some significant digits; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else f"{MINUS}\N{INFINITY}"
    if value == 0.0:
        return "0"
    if abs(value) < 1e-4 or abs(value) >= 1e7:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def format_count(value: float | None) -> str:
    """Write a whole number with separators; a dash for None."""
    return DASH if value is None else f"{value:,.0f}"


def format_percent(part: float | None, whole: float | None = 1.0) -> str:
    """Write a share as a percentage, keeping "not all" and "not none" apart from 100 % and 0 %; a dash for none."""
    if part is None or not whole:
        return DASH
    percent = 100.0 * part / whole
    if 99.5 <= percent < 100.0 or 0.0 < percent < 0.5:
        return f"{min(percent, 99.9):.1f}\N{NARROW NO-BREAK SPACE}%"
    return f"{percent:.0f}\N{NARROW NO-BREAK SPACE}%".replace("-", MINUS)


def format_seconds(seconds: float) -> str:
    """Write a duration with its two largest units."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_size(size: tuple[int, int]) -> str:
    """Write height and width as "64 x 64"."""
    return f"{size[0]}\N{NO-BREAK SPACE}{TIMES}\N{NO-BREAK SPACE}{size[1]}"


def flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give every value of nested mappings with its dotted name."""
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(values, list | tuple):
        yield prefix, ", ".join(map(str, values)) or "none"
    else:
        yield prefix, str(values)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "numbers") -> str:
    """Lay out cells that are already HTML; the first cell of a row is its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
        for first, *others in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def settings(values: Mapping[str, Any]) -> str:
    """Lay out every value of nested mappings beside its dotted name."""
    return table([], [[escape(name), escape(value)] for name, value in flatten(values)], kind="settings")


def protocol(values: MeasuringProtocol, of: str) -> str:
    """Fold the protocol of some numbers."""
    known = {name: value for name, value in asdict(values).items() if value is not None}
    return folded(f"Protocol of {of}", settings(known))


def folded(title: str, body: str) -> str:
    """Put HTML behind a line that opens it."""
    return f"<details><summary>{title}</summary>{body}</details>"
