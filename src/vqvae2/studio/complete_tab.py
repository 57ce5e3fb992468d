"""The tab *Complete*: a part of an image drawn anew, and two images that exchange their top codes.

Shapes: V variants, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import gradio as gr
import numpy as np
import torch
from gradio.components.image_editor import EditorValue
from torch import Tensor
from torch.nn import functional

from vqvae2.codes import Codes
from vqvae2.config import DecoderName
from vqvae2.errors import ConfigError
from vqvae2.images import crop_to
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.completion import hidden_codes, hide_pixels, mask_below
from vqvae2.sampling.hooks import DrawnFront
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.context import StudioContext
from vqvae2.studio.draw_controls import NO_PRIORS, DrawControls
from vqvae2.studio.image_choice import ImageChoice
from vqvae2.studio.live_work import watch
from vqvae2.studio.page_parts import enlarge_to, enlargement, figure_row, part, report_html
from vqvae2.studio.uploads import GivenImage
from vqvae2.studio.walk_view import WalkStep, view_front, walk_hooks

__all__ = [
    "Part",
    "build",
    "part_mask",
    "redraw",
    "swap_html",
    "swap_tops",
    "variants_html",
    "view_redrawn",
]

Part = Literal["painted", "lower half", "right half", "all but the top level"]
"""Of an image that is drawn anew."""

_INTRO = """A part of an image is hidden, and the priors draw its codes anew, given the rest; each try is another
possible image. Paint over an image, or choose the part to draw."""
_SWAP_INTRO = """Two images exchange their **top** codes and keep those below. What follows the other image is what the
top holds, mostly large shapes and colours; what stays is the detail of the levels below."""
_READY = "Paint, and press *Draw*."
_EDITOR_PIXELS = 384  # longer side of what is painted on
_VARIANT_PIXELS, _SWAP_PIXELS = 192, 256


def build(context: StudioContext, decoder: gr.Radio) -> None:
    """Lay out the tab; drawings and swaps take the decoder."""
    with gr.Tabs():
        with gr.Tab("Redraw a part", elem_id="tab-redraw"):
            gr.Markdown(_INTRO, elem_classes="intro")
            if context.pipeline.priors:
                _build_redraw(context, decoder)
            else:
                gr.Markdown(NO_PRIORS)
        if context.pipeline.tokenizer.config.num_levels > 1:
            with gr.Tab("Swap the top codes", elem_id="tab-swap"):
                gr.Markdown(_SWAP_INTRO, elem_classes="intro")
                _build_swap(context, decoder)


def _build_redraw(context: StudioContext, decoder: gr.Radio) -> None:
    size, parts = context.pipeline.config.image_size, list(get_args(Part))
    with gr.Row():
        with gr.Column(scale=2, min_width=240):
            choice = ImageChoice(context, "your image", name="complete", is_cropped=True)
        with gr.Column(scale=4, min_width=480):
            editor = _editor(context)
        with gr.Column(scale=3, min_width=300):
            controls = DrawControls(context, name="complete")
            if context.pipeline.tokenizer.config.num_levels == 1:
                parts.remove("all but the top level")
            which = gr.Radio(parts, value=parts[0], label="part to redraw", elem_id="complete-part")
            with gr.Row():
                count = gr.Slider(1, 16, value=4, step=1, label="tries", elem_id="complete-count", min_width=120)
                controls.lay_out_seed()
            controls.lay_out_class("no class")
            controls.lay_out_settings(context.pipeline.config.sampling_for(has_class=False))
            controls.lay_out_buttons()
            status = gr.Markdown(_READY, elem_id="complete-status")
    results = report_html("complete-results")

    def show_chosen(given: GivenImage) -> tuple[EditorValue, str]:
        return _editor_value(context, given.image), given.note or _READY

    def draw_live(
        decoder: DecoderName,
        given: GivenImage,
        painting: dict[str, Any] | None,
        which: Part,
        count: int,
        *values: Any,
    ) -> Iterator[Any]:
        own = context.by_decoder[decoder]
        mask = part_mask(which, (painting or {}).get("layers") or [], size)
        request = controls.request(values, num_variants=int(count))

        def show(step: WalkStep | None) -> Any:
            if step is None:
                return gr.skip()
            status = f"{step.done} of {step.total} codes visited."
            if step.front is None:
                return status, gr.skip()
            with context.turns.take():
                seen = view_redrawn(own.pipeline, given.image, mask, step.front)
            return status, variants_html(context, given.image, mask, seen)

        yield "Waiting for the first codes.", gr.skip()
        variants = yield from watch(lambda tell: redraw(own, given.image, mask, request, tell), show)
        html = variants_html(context, given.image, mask, variants)
        yield f"{request.num_variants} tries of seed {request.seed}.", html

    choice.then(show_chosen, choice.chosen, [editor, status])
    controls.on_draw(draw_live, [decoder, choice.chosen, editor, which, count], [status, results])


def _build_swap(context: StudioContext, decoder: gr.Radio) -> None:
    choices = []
    with gr.Row():
        for number, name in enumerate(("first", "second")):
            with gr.Column(scale=2, min_width=240):
                label = f"{name} image"
                choices.append(ImageChoice(context, label, name=f"swap-{name}", first=number, is_cropped=True))
        with gr.Column(scale=4):
            results = report_html("swap-results")

    def show(decoder: DecoderName, first: GivenImage, second: GivenImage) -> str:
        return swap_html(context.by_decoder[decoder], first.image, second.image)

    inputs = [decoder, *(choice.chosen for choice in choices)]
    results.value = show(*(one.value for one in inputs))  # what the page opens with
    for choice in choices:
        choice.then(show, inputs, results)
    decoder.input(show, inputs, results, trigger_mode="always_last")


def part_mask(part: Part, layers: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor | None:
    """Mark the pixels to draw: bool `(H, W)`, or None where whole levels are drawn.

    Args:
        part: What to draw.
        layers: Of the visitor's painting on the enlarged image, uint8 RGBA, each of any size; paint is opaque. Pixels
            count as painted if paint covers at least half of them.
        size: H and W.

    Raises:
        ConfigError: If `part` is what is painted, and nothing is.
    """
    height, width = size
    if part == "lower half":
        return mask_below((height, width), 0.5)
    if part == "right half":
        return mask_below((width, height), 0.5).T
    if part == "all but the top level":
        return None
    mask = torch.zeros(size, dtype=torch.bool)
    for layer in layers:
        is_paint = torch.from_numpy(layer[..., 3] > 127).float()
        mask |= functional.adaptive_avg_pool2d(is_paint[None], size)[0] >= 0.5
    if not mask.any():
        raise ConfigError("nothing is painted yet; paint over what to draw anew, or choose another part")
    return mask


def redraw(
    context: StudioContext, image: Tensor, mask: Tensor | None, request: DrawRequest, tell: Callable[[WalkStep], None]
) -> Tensor:
    """Draw variants of an image, taking turns with others; what `tell` raises ends it.

    Args:
        context: The studio's.
        image: `(C, H, W)` in [-1, 1], of the pipeline's size.
        mask: What to draw, from `part_mask`.
        request: How, and how many variants.
        tell: Receives each step.

    Returns:
        `(V, C, H, W)`, about [-1, 1], on the CPU.
    """
    pipeline, hooks = context.pipeline, walk_hooks(context.turns, tell)
    with context.turns.take():
        if mask is None:
            return pipeline.vary(image[None], request, hooks=hooks)[0].cpu()
        return pipeline.complete(image[None], mask, request, hooks=hooks)[0].cpu()


def view_redrawn(pipeline: Pipeline, image: Tensor, mask: Tensor | None, front: DrawnFront) -> Tensor:
    """Show variants while they are drawn: `(V, C, H, W)`, about [-1, 1], on the CPU."""
    if mask is None:
        return view_front(pipeline, front).cpu()
    seen = view_front(pipeline, front, hidden=hidden_codes(mask[None], pipeline.tokenizer.config)).cpu()
    return torch.where(mask, seen, image)


@torch.inference_mode()
def swap_tops(pipeline: Pipeline, first: Tensor, second: Tensor) -> Tensor:
    """Encode two images `(C, H, W)` in [-1, 1] of one size, exchange the codes of their top level, and decode.

    Returns:
        `(4, C, H, W)`, on the CPU: both from their own codes, then each with the top of the other.
    """
    codes = pipeline.encode(torch.stack([first, second]))
    swapped = Codes((codes[0].flip(0), *codes.maps[1:]))
    decoded = crop_to(pipeline.decode(Codes.concatenate([codes, swapped])), *first.shape[-2:])
    return decoded.cpu()


def _editor(context: StudioContext) -> gr.ImageEditor:
    height, width = context.pipeline.config.image_size
    factor = enlargement(height, width, _EDITOR_PIXELS)
    return gr.ImageEditor(
        _editor_value(context, context.examples[0].image),
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
        height=height * factor + 110,  # the tools below need the rest
        elem_id="complete-editor",
        elem_classes="pixels",
    )


def _editor_value(context: StudioContext, image: Tensor) -> EditorValue:
    shown = enlarge_to(context.picture(image), _EDITOR_PIXELS)
    return {"background": shown, "layers": [], "composite": shown}


def variants_html(context: StudioContext, image: Tensor, mask: Tensor | None, variants: Tensor) -> str:
    """Show what the mask leaves of an image `(C, H, W)`, beside variants of it `(V, C, H, W)`."""
    if mask is None:
        shown = [("the image", "its top codes stay", image)]
    else:
        known = f"{100 * (1 - mask.float().mean()):.0f} % of the image"
        shown = [("what is known", known, hide_pixels(image, mask))]
    shown += [(f"try {number}", "", variant) for number, variant in enumerate(variants, start=1)]
    return part(_row(context, shown, _VARIANT_PIXELS))


def swap_html(context: StudioContext, first: Tensor, second: Tensor) -> str:
    """Show two images `(C, H, W)` in [-1, 1], and what becomes of them when they exchange their top codes."""
    with context.turns.take():
        swapped = swap_tops(context.pipeline, first, second)
    own = "rebuilt from its own codes"
    originals = [("first image", own, swapped[0]), ("second image", own, swapped[1])]
    mixtures = [
        ("top of the second", "detail of the first", swapped[2]),
        ("top of the first", "detail of the second", swapped[3]),
    ]
    return part(_row(context, originals, _SWAP_PIXELS), _row(context, mixtures, _SWAP_PIXELS))


def _row(context: StudioContext, figures: list[tuple[str, str, Tensor]], pixels: int) -> str:
    return figure_row([(title, line, context.picture(image)) for title, line, image in figures], pixels)
