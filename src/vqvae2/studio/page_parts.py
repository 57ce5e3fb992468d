"""Tables, charts and pictures of the report, in the studio's page and in its colours, light or dark.

Shapes: C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import gradio as gr
import numpy as np

from vqvae2.report.pictures import image_tag
from vqvae2.report.text import escape

__all__ = [
    "enlarge",
    "enlarge_to",
    "enlargement",
    "figure",
    "figure_row",
    "note",
    "part",
    "psnr_words",
    "report_html",
]


def report_html(elem_id: str, value: str = "") -> gr.HTML:
    """Lay out a place for a `part`."""
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False)


def part(*html: str) -> str:
    """Join HTML of the report, in the report's style."""
    return f'<div class="report-part">{"".join(html)}</div>'


def note(text: str) -> str:
    """Show a sentence; nothing if it is empty."""
    return f'<p class="note">{escape(text)}</p>' if text else ""


def figure(title: str, line: str, pixels: np.ndarray) -> str:
    """Show a picture `(H, W, C)` with a title and a line below it."""
    caption = f"<b>{escape(title)}</b><small>{escape(line)}</small>"
    return f"<figure>{image_tag(pixels, alt=title)}<figcaption>{caption}</figcaption></figure>"


def figure_row(figures: Sequence[tuple[str, str, np.ndarray]], wanted_pixels: int = 1) -> str:
    """Lay out pictures side by side, each as `figure` does, enlarged up to a longer side."""
    shown = (figure(title, line, enlarge_to(pixels, wanted_pixels)) for title, line, pixels in figures)
    return f'<div class="row">{"".join(shown)}</div>'


def psnr_words(psnr_db: float) -> str:
    """Say how close an image is to its original."""
    return "lossless" if math.isinf(psnr_db) else f"{psnr_db:.1f} dB"


def enlargement(height: int, width: int, wanted_pixels: int) -> int:
    """Give the largest whole factor, at least 1, that keeps the longer side within the wanted pixels."""
    return max(1, wanted_pixels // max(height, width))


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Turn each pixel of `(H, W, ...)` into a square of `factor` x `factor` pixels."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def enlarge_to(picture: np.ndarray, wanted_pixels: int) -> np.ndarray:
    """Enlarge `(H, W, ...)` by the factor of `enlargement`."""
    return enlarge(picture, enlargement(picture.shape[0], picture.shape[1], wanted_pixels))
