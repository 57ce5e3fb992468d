"""The frame of a page: sections in one self-contained document, and cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vqvae2.report.style import STYLE
from vqvae2.report.text import escape

__all__ = ["Section", "card", "cards", "render"]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section: `key` is its anchor, `title` and `lead` are text and HTML, `body` is HTML or empty."""

    key: str
    title: str
    lead: str
    body: str
    answers: str = ""
    """The table or figure of the paper that it is made after."""


def render(title: str, sections: Sequence[Section], *, footer: str) -> str:
    """Make a page: one HTML document that needs nothing else, and is not allowed to load anything.

    The first section opens the page; the header has links to all others. The title is text, the footer HTML.
    """
    links = "".join(f'<a href="#{section.key}">{section.title}</a>' for section in sections[1:])
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><nav aria-label="Sections">{links}</nav></header>
<main>
{"".join(map(_section, sections))}
</main>
<footer>{footer}</footer>
</body>
</html>
"""


def card(title: str, value: str, hint: str) -> str:
    """Show one number large, with a hint how to read it; all are HTML."""
    return f'<div class="card"><dt>{title}</dt><dd class="value">{value}</dd><dd class="hint">{hint}</dd></div>'


def cards(entries: Sequence[str]) -> str:
    """Lay out cards; nothing if there are none."""
    return f'<dl class="cards">{"".join(entries)}</dl>' if entries else ""


def _section(section: Section) -> str:
    answers = f" <small>{section.answers}</small>" if section.answers else ""
    heading = f"<h2>{section.title}{answers}</h2>"
    return f'<section id="{section.key}">{heading}<p class="lead">{section.lead}</p>{section.body}</section>\n'
