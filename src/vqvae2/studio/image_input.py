"""Places where a visitor gives an image: one of their own, or one that is there."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from vqvae2.studio.context import StudioContext
from vqvae2.studio.pictures import enlarge, enlargement, to_picture

__all__ = ["example_gallery", "file_of_image"]


def file_of_image(label: str, *, elem_id: str, height: int = 260) -> gr.Image:
    """Make a place to drop an image, which gives the path of the file just as it was sent.

    By itself, the component opens what is sent: other formats than those that `decode_image` takes, decompression bombs
    too, and 16 bits become 8. What cannot be used is to be refused by `read_upload`, in plain words.
    """
    component = gr.Image(
        label=label, type="filepath", sources=["upload", "clipboard"], height=height, elem_id=elem_id, buttons=[]
    )
    component.preprocess = _path_of  # type: ignore[method-assign]  # a subclass would have gradio write a file here
    return component


def example_gallery(context: StudioContext, *, elem_id: str) -> gr.Gallery:
    """Lay out the studio's examples to choose from; its `select` event tells the number of one."""
    pictures = [to_picture(one.image, bit_depth=context.pipeline.config.bit_depth) for one in context.examples]
    items: list[Any] = [
        (enlarge(picture, max(1, enlargement(*picture.shape[:2]) // 2)), one.name)
        for picture, one in zip(pictures, context.examples, strict=True)
    ]
    return gr.Gallery(
        items,
        label="or pick one of these, which no part of the pipeline was trained on",
        columns=4,
        height="auto",
        allow_preview=False,
        interactive=False,
        format="png",
        buttons=[],
        object_fit="contain",
        elem_id=elem_id,
        elem_classes="pixels",
    )


def _path_of(payload: ImageData | None) -> str | None:
    return None if payload is None else payload.path
