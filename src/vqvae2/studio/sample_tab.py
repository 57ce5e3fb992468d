"""The tab *Sample*."""

from __future__ import annotations

import gradio as gr

from vqvae2.studio.context import StudioContext

__all__ = ["build"]


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    gr.Markdown("To come.", elem_classes="intro")
