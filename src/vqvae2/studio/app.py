"""The page: one tab for each thing that a pipeline does."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from vqvae2.studio import codebook_tab, complete_tab, compress_tab, reconstruct_tab, sample_tab
from vqvae2.studio.context import StudioContext

__all__ = ["TABS", "build_studio"]

TABS: tuple[tuple[str, Callable[[StudioContext], None]], ...] = (
    ("Reconstruct", reconstruct_tab.build),
    ("Sample", sample_tab.build),
    ("Complete", complete_tab.build),
    ("Compress", compress_tab.build),
    ("Codebook", codebook_tab.build),
)
"""Name of each tab, and the function that lays it out."""

_MOST_SHORT_TASKS = 4  # of each kind at a time; they share the cores with the walks


def build_studio(context: StudioContext) -> gr.Blocks:
    """Build the page of a studio, without serving it."""
    # With analytics, gradio reports each start to its makers and asks for its newest version.
    with gr.Blocks(title="vqvae2 studio", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(_heading(context), elem_id="heading")
        with gr.Tabs(elem_id="tabs"):
            for name, build_tab in TABS:
                with gr.Tab(name, elem_id=f"tab-{name.lower()}"):
                    build_tab(context)
    page.queue(default_concurrency_limit=_MOST_SHORT_TASKS, api_open=False)
    return page


def _heading(context: StudioContext) -> str:
    config, height, width = context.pipeline.tokenizer.config, *context.pipeline.config.image_size
    grids = " over ".join(f"{rows}x{columns}" for rows, columns in config.code_shapes(height, width))
    return f"## vqvae2 studio\nPipeline `{context.source}`: images of {width}x{height} pixels as codes of {grids}."
