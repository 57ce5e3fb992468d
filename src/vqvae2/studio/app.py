"""The page: one tab for each thing that a pipeline does. What goes wrong reaches it as one plain sentence."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isgeneratorfunction
from typing import Any

import gradio as gr
import torch

from vqvae2.errors import VQVAE2Error
from vqvae2.studio import codebook_tab, complete_tab, compress_tab, reconstruct_tab, sample_tab
from vqvae2.studio.context import StudioContext

__all__ = ["TABS", "build_studio", "in_plain_words"]

TABS: tuple[tuple[str, Callable[[StudioContext, gr.Radio], None]], ...] = (
    ("Reconstruct", reconstruct_tab.build),
    ("Sample", sample_tab.build),
    ("Complete", complete_tab.build),
    ("Compress", compress_tab.build),
    ("Codebook", codebook_tab.build),
)
"""Name of each tab, and the function that lays it out, given the choice of the decoder for all of them."""

_MOST_SHORT_TASKS = 4  # of each kind at a time; they share the cores with the walks


def build_studio(context: StudioContext) -> gr.Blocks:
    """Build the page of a studio, without serving it."""
    config, height, width = context.pipeline.tokenizer.config, *context.pipeline.config.image_size
    grids = " over ".join(f"{rows}x{columns}" for rows, columns in config.code_shapes(height, width))
    heading = f"Pipeline `{context.source}`: images of {width}x{height} pixels as codes of {grids}."
    # With analytics, gradio reports each start to its makers and asks for its newest version.
    with gr.Blocks(title="vqvae2 studio", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        with gr.Row():
            with gr.Column(scale=3):
                gr.Markdown(f"## vqvae2 studio\n{heading}", elem_id="heading")
            decoder = _lay_out_decoder(context)
        with gr.Tabs(elem_id="tabs"):
            for name, build_tab in TABS:
                with gr.Tab(name, elem_id=f"tab-{name.lower()}"):
                    build_tab(context, decoder)
    for event in page.fns.values():
        if event.fn is not None:
            event.fn = in_plain_words(event.fn)
    page.queue(default_concurrency_limit=_MOST_SHORT_TASKS, api_open=False)
    return page


def _lay_out_decoder(context: StudioContext) -> gr.Radio:
    """Lay out the choice of the decoder, which is hidden where there is only one."""
    names = list(context.by_decoder)
    return gr.Radio(
        names,
        value=context.pipeline.config.default_decoder,
        label="decoder",
        info="faithful has the least error, sharp draws details",
        visible=len(names) > 1,
        min_width=360,
        elem_id="decoder",
    )


def in_plain_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show the visitor what a function, or a generator, raises on purpose.

    Raises:
        gradio.Error: In place of a `VQVAE2Error`, or when the device runs out of memory.
    """
    if not isgeneratorfunction(function):
        return _shown()(function)

    @functools.wraps(function)
    def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _shown():
            yield from function(*args, **kwargs)

    return generate


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except (VQVAE2Error, torch.OutOfMemoryError) as error:
        is_ours = isinstance(error, VQVAE2Error)
        message = str(error) if is_ours else "the device has too little memory; take fewer or smaller images"
        # The page shows messages as HTML, and a message may quote what a visitor sent.
        raise gr.Error(html.escape(message[:1].upper() + message[1:]), print_exception=False) from error
