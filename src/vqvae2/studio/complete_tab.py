"""The tab *Complete*: a part of an image drawn anew, and two images that exchange their top codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import gradio as gr
import numpy as np
from gradio.components.image_editor import EditorValue
from torch import Tensor

from vqvae2.sampling.completion import hide_pixels
from vqvae2.studio.context import StudioContext
from vqvae2.studio.image_input import example_gallery, file_of_image
from vqvae2.studio.live_work import LiveWork
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.pictures import enlarge, enlargement, to_picture
from vqvae2.studio.redraw_request import (
    MOST_VARIANTS,
    Part,
    RedrawRequest,
    painted_mask,
    redraw,
    swap_tops,
    view_redrawn,
)
from vqvae2.studio.report_parts import figure_row, part, report_html, report_style
from vqvae2.studio.sampling_controls import SamplingControls
from vqvae2.studio.uploads import Upload, read_upload
from vqvae2.studio.walk_view import WalkStep

__all__ = ["build", "swap_html", "variants_html"]

_INTRO = """A part of an image is hidden, and the priors draw its codes anew from the rest; each try is another
possible image. Paint over an image, or choose which part goes."""
_SWAP_INTRO = """Two images exchange their **top** codes and keep those below. What follows the other image is what the
top holds, mostly large shapes and colours; what stays is the detail of the levels below."""
_NO_CLASS = "no class"
_READY = "Paint, and press *Draw*."
_EDITOR_PIXELS = 384  # of the longer side of what is painted on
_VARIANT_PIXELS = 192


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    report_style()
    with gr.Tabs():
        with gr.Tab("Redraw a part", elem_id="tab-redraw"):
            gr.Markdown(_INTRO, elem_classes="intro")
            if context.pipeline.priors:
                _build_redraw(context)
            else:
                gr.Markdown("This pipeline has no priors, so it cannot draw; train one for each of its levels.")
        if context.pipeline.tokenizer.config.num_levels > 1:
            with gr.Tab("Swap the top codes", elem_id="tab-swap"):
                gr.Markdown(_SWAP_INTRO, elem_classes="intro")
                _build_swap(context)


def _build_redraw(context: StudioContext) -> None:
    size = context.pipeline.config.image_size
    first = context.examples[0].image if context.examples else None
    chosen = gr.State(first)
    with gr.Row():
        with gr.Column(scale=2, min_width=240):
            file = file_of_image("your image", elem_id="complete-image", height=180)
            examples = example_gallery(context, elem_id="complete-examples")
        with gr.Column(scale=4, min_width=480):
            editor = _editor(context, first)
        with gr.Column(scale=3, min_width=300):
            inputs = _choices(context)
            controls = SamplingControls(context, elem_id="complete")
            with gr.Row():
                button = gr.Button("Draw", variant="primary", elem_id="complete-draw")
                stop = gr.Button("Stop", variant="stop", elem_id="complete-stop")
            status = gr.Markdown(_READY, elem_id="complete-status")
    results = report_html("complete-results")

    @in_plain_words
    def choose_upload(path: str | None) -> tuple[Any, ...]:
        upload = read_upload(path, context.pipeline, size=size)
        return upload.image, _editor_value(context, upload.image), upload.note or _READY

    @in_plain_words
    def choose_example(event: gr.SelectData) -> tuple[Any, ...]:
        image = context.examples[event.index].image
        return image, _editor_value(context, image), _READY

    @in_plain_words
    def draw_live(
        image: Tensor | None,
        painting: dict[str, Any] | None,
        which: Part,
        count: int,
        seed: int,
        class_name: str,
        *settings: Any,
    ) -> Iterator[tuple[Any, ...]]:
        upload = read_upload(None, context.pipeline) if image is None else Upload(image, "")
        request = RedrawRequest(
            image=upload.image,
            part=which,
            painted=painted_mask((painting or {}).get("layers") or [], size),
            num_variants=int(count),
            seed=int(seed or 0),
            class_name=None if class_name == _NO_CLASS else class_name,
            sampling=controls.read(settings),
        )
        yield "Waiting for the first codes.", gr.skip()
        live: LiveWork[WalkStep, Tensor] = LiveWork(lambda tell: redraw(context, request, tell))
        for step in live.steps():
            yield _progress(step), _picture(context, request, step)
        yield f"{request.num_variants} tries of seed {request.seed}.", variants_html(context, request, live.result)

    file.upload(choose_upload, file, [chosen, editor, status])
    examples.select(choose_example, None, [chosen, editor, status])
    drawing = button.click(
        draw_live,
        [chosen, editor, *inputs, *controls.inputs],
        [status, results],
        show_progress="hidden",
        **context.walk_limits,
    )
    # It is said after the drawing has ended, whose last step would else be written over it now and then.
    stop.click(None, cancels=[drawing]).then(lambda: "Stopped.", None, status, queue=False)


def _choices(context: StudioContext) -> list[gr.components.Component]:
    """Lay out the part, the number of tries, seed and class, which a drawing takes in this order."""
    classes, num_levels = context.pipeline.config.classes, context.pipeline.tokenizer.config.num_levels
    parts = get_args(Part)[: None if num_levels > 1 else -1]
    which = gr.Radio(list(parts), value=parts[0], label="what is drawn anew", elem_id="complete-part")
    with gr.Row():
        count = gr.Slider(1, MOST_VARIANTS, value=4, step=1, label="tries", elem_id="complete-count", min_width=120)
        seed = gr.Number(0, label="seed", precision=0, minimum=0, elem_id="complete-seed", min_width=100)
    class_name = gr.Dropdown(
        [_NO_CLASS, *classes], value=_NO_CLASS, label="class", visible=bool(classes), elem_id="complete-class"
    )
    return [which, count, seed, class_name]


def _build_swap(context: StudioContext) -> None:
    size = context.pipeline.config.image_size
    starts = [example.image for example in context.examples[:2]]
    with gr.Row():
        states = []
        for index, name in enumerate(("first", "second")):
            with gr.Column(scale=2, min_width=240):
                state = gr.State(starts[index] if len(starts) == 2 else None)
                file = file_of_image(f"{name} image", elem_id=f"swap-{name}", height=200)
                states.append((state, file, example_gallery(context, elem_id=f"swap-{name}-examples")))
        with gr.Column(scale=4):
            first_html = swap_html(context, starts[0], starts[1]) if len(starts) == 2 else ""
            results = report_html("swap-results", first_html)

    @in_plain_words
    def choose_upload(path: str | None) -> Tensor:
        return read_upload(path, context.pipeline, size=size).image

    @in_plain_words
    def choose_example(event: gr.SelectData) -> Tensor:
        return context.examples[event.index].image

    @in_plain_words
    def show(first: Tensor | None, second: Tensor | None) -> str:
        return "" if first is None or second is None else swap_html(context, first, second)

    both = [state for state, _, _ in states]
    for state, file, examples in states:
        file.upload(choose_upload, file, state).success(show, both, results)
        examples.select(choose_example, None, state).success(show, both, results)


def _editor(context: StudioContext, first: Tensor | None) -> gr.ImageEditor:
    height, width = context.pipeline.config.image_size
    factor = _factor(height, width, _EDITOR_PIXELS)
    return gr.ImageEditor(
        None if first is None else _editor_value(context, first),
        label="paint here",
        type="numpy",
        image_mode="RGBA",
        format="png",
        sources=(),
        transforms=(),
        layers=False,
        buttons=[],
        brush=gr.Brush(default_size=factor * max(height, width) // 8, colors=["#d6336c"], color_mode="fixed"),
        canvas_size=(width * factor, height * factor),
        fixed_canvas=True,
        height=height * factor + 110,  # what the tools below take
        elem_id="complete-editor",
        elem_classes="pixels",
    )


def _editor_value(context: StudioContext, image: Tensor) -> EditorValue:
    picture = to_picture(image, bit_depth=context.pipeline.config.bit_depth)
    shown = enlarge(picture, _factor(picture.shape[0], picture.shape[1], _EDITOR_PIXELS))
    return {"background": shown, "layers": [], "composite": shown}


def _factor(height: int, width: int, wanted_pixels: int) -> int:
    return max(1, wanted_pixels // max(height, width))


def _picture(context: StudioContext, request: RedrawRequest, step: WalkStep | None) -> Any:
    if step is None or step.rows is None:
        return gr.skip()
    with context.turns.take():
        seen = view_redrawn(context.pipeline, request, step.rows)
    return variants_html(context, request, seen)


def _progress(step: WalkStep | None) -> Any:
    return gr.skip() if step is None else f"{step.done} of {step.total} codes visited."


def variants_html(context: StudioContext, request: RedrawRequest, variants: Tensor) -> str:
    """Show what is known of an image beside variants of it, `(V, C, H, W)`, about [-1, 1]."""
    mask = request.mask
    if mask is None:
        known = ("the image", "its top codes stay", request.image)
    else:
        known = (
            "what is known",
            f"{100 * (1 - mask.float().mean()):.0f} % of the image",
            hide_pixels(request.image, mask),
        )
    shown = [known, *((f"try {number}", "", image) for number, image in enumerate(variants, start=1))]
    return part(figure_row([(title, line, _enlarged(context, image, _VARIANT_PIXELS)) for title, line, image in shown]))


def swap_html(context: StudioContext, first: Tensor, second: Tensor) -> str:
    """Show two images `(C, H, W)` in [-1, 1], and what becomes of them when they exchange their top codes."""
    with context.turns.take():
        swapped = swap_tops(context.pipeline, first, second)
    longest = max(first.shape[-2:]) * enlargement(*first.shape[-2:])

    def row(*figures: tuple[str, str, Tensor]) -> str:
        return figure_row([(title, line, _enlarged(context, image, longest)) for title, line, image in figures])

    return part(
        row(
            ("first image", "rebuilt from its own codes", swapped.first),
            ("second image", "rebuilt from its own codes", swapped.second),
        ),
        row(
            ("top of the second", "detail of the first", swapped.first_with_top_of_second),
            ("top of the first", "detail of the second", swapped.second_with_top_of_first),
        ),
    )


def _enlarged(context: StudioContext, image: Tensor, wanted_pixels: int) -> np.ndarray:
    picture = to_picture(image, bit_depth=context.pipeline.config.bit_depth)
    return enlarge(picture, _factor(picture.shape[0], picture.shape[1], wanted_pixels))
