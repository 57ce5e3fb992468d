"""Tables, charts and pictures of the report, inside the studio's page and in its colours, light or dark."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

import gradio as gr
import numpy as np
from gradio.context import Context

from vqvae2.report.pictures import image_tag
from vqvae2.report.style import DARK_COLORS, LIGHT_COLORS, PARTS
from vqvae2.report.text import escape

__all__ = ["current_tab", "draw_charts", "figure", "figure_row", "part", "psnr_words", "report_html", "report_style"]

# matplotlib's settings are those of the whole process, so charts of several visitors are drawn one after the other.
_DRAWING = threading.Lock()

_STYLE = f"""<style>
.report-part {{ {LIGHT_COLORS} color: var(--ink); font-size: 15px; line-height: 1.5; }}
.dark .report-part {{ {DARK_COLORS} }}
.report-style {{ display: none; }}
.report-part {{ {PARTS}
.row img, .samples img {{ outline: 1px solid var(--line); }}
.row .samples {{ flex: 1; min-width: 300px; gap: 8px; }}
.row {{ display: flex; flex-wrap: wrap; gap: 20px 24px; align-items: flex-start; }}
.row figcaption {{ max-width: 260px; }}
.row figcaption small {{ display: block; color: var(--muted); line-height: 1.4; }}
.note {{ color: var(--muted); font-size: 14px; max-width: 88ch; }}
.bar {{ height: 10px; min-width: 2px; border-radius: 2px; background: var(--train); }}
.bar.ours {{ background: var(--level-0); }}
.bars td:last-child {{ width: 40%; min-width: 120px; }}
}}
</style>"""


def report_style() -> gr.HTML:
    """Put the style of all `part`s into the page, once a tab."""
    return gr.HTML(_STYLE, apply_default_css=False, elem_classes="report-style")


def current_tab() -> gr.Tab:
    """Give the tab that is being laid out, whose `select` event comes when a visitor opens it."""
    tab = Context.block
    assert isinstance(tab, gr.Tab)
    return tab


def report_html(elem_id: str, value: str = "") -> gr.HTML:
    """Make a place for a `part`."""
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False)


def part(*html: str) -> str:
    """Join HTML of the report into what can stand in the page."""
    return f'<div class="report-part">{"".join(html)}</div>'


def draw_charts(draw: Callable[[], str]) -> str:
    """Call what draws charts, while nobody else draws any."""
    with _DRAWING:
        return draw()


def figure(title: str, line: str, pixels: np.ndarray) -> str:
    """Show a picture `(H, W, C)`, enlarged by a whole factor, with a title and a line below it."""
    caption = f"<b>{escape(title)}</b><small>{escape(line)}</small>"
    return f"<figure>{image_tag(pixels, alt=title)}<figcaption>{caption}</figcaption></figure>"


def figure_row(figures: Sequence[tuple[str, str, np.ndarray]]) -> str:
    """Lay out pictures side by side, each as `figure` does."""
    return f'<div class="row">{"".join(figure(*one) for one in figures)}</div>'


def psnr_words(psnr_db: float) -> str:
    """Say how near an image is to another."""
    return "lossless" if math.isinf(psnr_db) else f"{psnr_db:.1f} dB"
