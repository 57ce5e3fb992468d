"""Where a visitor chooses an image: one of their own, or an example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import Dependency

from vqvae2.studio.context import StudioContext
from vqvae2.studio.page_parts import enlarge_to
from vqvae2.studio.uploads import GivenImage, read_upload

__all__ = ["ImageChoice"]

_EXAMPLE_PIXELS = 128


class ImageChoice:
    """Lays out a place to drop an image, and the examples to pick from.

    Args:
        context: The studio's.
        label: What the page calls the image.
        name: Starts the ids of both places.
        first: Number of the example that is chosen when the page opens.
        is_cropped: Whether uploads are cropped and scaled to the pipeline's size; their place is smaller then.
    """

    def __init__(
        self, context: StudioContext, label: str, *, name: str, first: int = 0, is_cropped: bool = False
    ) -> None:
        self.chosen = gr.State(context.examples[first % len(context.examples)])
        """A `GivenImage`."""
        size = context.pipeline.config.image_size if is_cropped else None
        file = gr.Image(
            label=label,
            type="filepath",
            sources=["upload", "clipboard"],
            height=190 if is_cropped else 260,
            elem_id=f"{name}-image",
            buttons=[],
        )
        # By itself, the component opens the file: also formats that `decode_image` refuses, and decompression bombs;
        # and it turns 16 bits into 8. This leaves the file to `read_upload`, which refuses what cannot be used in
        # plain words. (A subclass of the component would have gradio write a file into this folder.)
        file.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]
        examples = gr.Gallery(
            [(enlarge_to(context.picture(one.image), _EXAMPLE_PIXELS), one.name) for one in context.examples],
            label="or pick a held-out image",
            columns=4,
            height="auto",
            allow_preview=False,
            interactive=False,
            format="png",
            buttons=[],
            object_fit="contain",
            elem_id=f"{name}-examples",
            elem_classes="pixels",
        )

        def upload(path: str) -> GivenImage:
            return read_upload(path, context.pipeline, size=size)

        def pick(event: gr.SelectData) -> GivenImage:
            return context.examples[event.index]

        self._events = [file.upload(upload, file, self.chosen), examples.select(pick, None, self.chosen)]

    def then(self, function: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> list[Dependency]:
        """Call a function whenever an image has been chosen; the arguments are those of a gradio event."""
        return [event.success(function, inputs, outputs, **options) for event in self._events]
