"""Where a visitor chooses an image: one of their own, or an example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import Dependency

from vqvae2.studio.context import StudioContext
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.pictures import enlarge_to
from vqvae2.studio.uploads import GivenImage, read_upload

__all__ = ["ImageChoice"]

_EXAMPLE_PIXELS = 128


class ImageChoice:
    """Lays out a place to drop an image, and the examples to pick from.

    Args:
        context: The studio's.
        label: What the page calls the image.
        name: Starts the ids of both places.
        first: Chosen when the page opens.
        is_cropped: Whether uploads are cropped and scaled to the pipeline's size; their place is smaller then.
    """

    def __init__(
        self,
        context: StudioContext,
        label: str,
        *,
        name: str,
        first: GivenImage | None = None,
        is_cropped: bool = False,
    ) -> None:
        self.chosen = gr.State(first)
        """A `GivenImage`, or None."""
        size = context.pipeline.config.image_size if is_cropped else None
        file = _file_of_image(label, elem_id=f"{name}-image", height=190 if is_cropped else 260)
        examples = _example_gallery(context, elem_id=f"{name}-examples")

        @in_plain_words
        def upload(path: str | None) -> GivenImage:
            return read_upload(path, context.pipeline, size=size)

        @in_plain_words
        def pick(event: gr.SelectData) -> GivenImage:
            return context.examples[event.index]

        self._events = [file.upload(upload, file, self.chosen), examples.select(pick, None, self.chosen)]

    def then(self, function: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> list[Dependency]:
        """Call a function whenever an image has been chosen; the arguments are those of a gradio event."""
        return [event.success(function, inputs, outputs, **options) for event in self._events]


def _file_of_image(label: str, *, elem_id: str, height: int) -> gr.Image:
    """Make a place to drop an image that gives the path of the file just as it was sent.

    By itself, the component opens the file: also formats that `decode_image` refuses, and decompression bombs; and it
    turns 16 bits into 8. Here `read_upload` refuses what cannot be used, in plain words.
    """
    component = gr.Image(
        label=label, type="filepath", sources=["upload", "clipboard"], height=height, elem_id=elem_id, buttons=[]
    )
    # A subclass would have gradio write a file here.
    component.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]
    return component


def _example_gallery(context: StudioContext, *, elem_id: str) -> gr.Gallery:
    return gr.Gallery(
        [(enlarge_to(context.picture(one.image), _EXAMPLE_PIXELS), one.name) for one in context.examples],
        label="or pick a held-out image",
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
