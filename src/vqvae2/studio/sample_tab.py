"""The tab *Sample*: new images, which appear row by row as their codes are drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache

from vqvae2.errors import VQVAE2Error
from vqvae2.images import image_grid, to_8_bits, to_pixels
from vqvae2.report.pictures import image_tag
from vqvae2.studio.context import StudioContext
from vqvae2.studio.live_work import LiveWork
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.pictures import enlarge
from vqvae2.studio.report_parts import part, report_html, report_style
from vqvae2.studio.sample_request import MOST_IMAGES, SampleRequest, Samples, draw, grid_png, samples_zip
from vqvae2.studio.sampling_controls import SamplingControls
from vqvae2.studio.walk_view import WalkStep, view_rows

__all__ = ["build", "grid_html", "shown_pixels"]

_INTRO = """New images: the priors draw one code after the other, the top level first, and the decoder makes pixels of
them. While the bottom level is drawn, the part below it is still what the top alone says. Whoever sets the same values
gets the same images."""
_ANY_CLASS = "any class"
_LARGEST_SEED = 2**31
_GRID_PIXELS = 640  # of the longer side of a grid on the page
_GAP_PIXELS = 2


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    report_style()
    gr.Markdown(_INTRO, elem_classes="intro")
    if not context.pipeline.priors:
        gr.Markdown("This pipeline has no priors, so it cannot draw; train one for each of its levels.")
        return
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            inputs = _choices(context)
            controls = SamplingControls(context, elem_id="sample")
            with gr.Row():
                button = gr.Button("Draw", variant="primary", elem_id="sample-draw")
                stop = gr.Button("Stop", variant="stop", elem_id="sample-stop")
        with gr.Column(scale=3):
            outputs = _results()
    status, png = outputs[0], outputs[-1]

    def finish(request: SampleRequest, samples: Samples) -> tuple[Any, ...]:
        line, name = request.command(context), f"samples-seed-{request.seed}"
        files = {f"{name}.png": grid_png(samples.pixels), f"{name}.zip": samples_zip(samples, line)}
        paths = [save_bytes_to_cache(data, file, cache_dir=png.GRADIO_CACHE) for file, data in files.items()]
        return (
            f"{len(samples.pixels)} images of seed {request.seed}.",
            grid_html(samples.pixels, samples.classes),
            gr.Code(value=line, visible=True),
            *(gr.DownloadButton(value=path, interactive=True) for path in paths),
        )

    @in_plain_words
    def draw_live(class_name: str, count: int, seed: int, rate: float, *settings: Any) -> Iterator[tuple[Any, ...]]:
        request = SampleRequest(
            num_images=int(count),
            seed=int(seed or 0),
            class_name=None if class_name == _ANY_CLASS else class_name,
            acceptance_rate=float(rate),
            sampling=controls.read(settings),
        )
        unchanged = gr.skip()
        no_file = gr.DownloadButton(value=None, interactive=False)
        yield "Waiting for the first codes.", unchanged, gr.Code(visible=False), no_file, no_file
        live: LiveWork[WalkStep | Samples, Samples] = LiveWork(lambda tell: draw(context, request, tell))
        try:
            for step in live.steps():
                pixels = None if step is None else shown_pixels(context, step)
                picture = unchanged if pixels is None else grid_html(pixels)
                yield _progress(step), picture, unchanged, unchanged, unchanged
        except VQVAE2Error:
            yield "Nothing was drawn.", unchanged, unchanged, unchanged, unchanged
            raise
        yield finish(request, live.result)

    drawing = button.click(
        draw_live, [*inputs, *controls.inputs], outputs, show_progress="hidden", **context.walk_limits
    )
    # It is said after the drawing has ended, whose last step would else be written over it now and then.
    stop.click(None, cancels=[drawing]).then(lambda: "Stopped.", None, status, queue=False)


def _choices(context: StudioContext) -> list[gr.components.Component]:
    """Lay out class, number, seed and acceptance rate, which a drawing takes in this order."""
    classes = context.pipeline.config.classes
    class_name = gr.Dropdown(
        [_ANY_CLASS, *classes], value=_ANY_CLASS, label="class", visible=bool(classes), elem_id="sample-class"
    )
    count = gr.Slider(1, MOST_IMAGES, value=16, step=1, label="number of images", elem_id="sample-count")
    seed = gr.Number(0, label="seed", precision=0, minimum=0, elem_id="sample-seed")
    another = gr.Button("Another seed", size="sm", elem_id="sample-another-seed")
    another.click(lambda: random.randrange(_LARGEST_SEED), None, seed, queue=False)
    rate = gr.Slider(
        0.05,
        1.0,
        value=1.0,
        step=0.05,
        label="acceptance rate",
        info="below 1: draw more, and keep those of which a classifier is surest",
        visible=context.classifier is not None and bool(classes),
        elem_id="sample-rate",
    )
    return [class_name, count, seed, rate]


def _results() -> list[gr.components.Component]:
    """Lay out status, grid, command, and both downloads, which a drawing gives in this order."""
    status = gr.Markdown("Press *Draw*.", elem_id="sample-status")
    grid = report_html("sample-grid")
    command = gr.Code(
        label="the command that draws these images again",
        language="shell",
        interactive=False,
        visible=False,
        lines=1,
        wrap_lines=True,
        show_line_numbers=False,
        elem_id="sample-command",
    )
    with gr.Row():
        png = gr.DownloadButton("Download as one PNG", interactive=False, elem_id="sample-png")
        archive = gr.DownloadButton("Download as ZIP of PNGs", interactive=False, elem_id="sample-zip")
    return [status, grid, command, png, archive]


def shown_pixels(context: StudioContext, step: WalkStep | Samples) -> np.ndarray | None:
    """Give what there is to see in the middle of a drawing, uint8 or uint16 `(B, H, W, C)`; None before a first row."""
    if isinstance(step, Samples):
        return step.pixels
    if step.rows is None:
        return None
    with context.turns.take():
        images = view_rows(context.pipeline, step.rows)
    return to_pixels(images, bit_depth=context.pipeline.config.bit_depth).cpu().numpy()


def grid_html(pixels: np.ndarray, classes: tuple[str, ...] = ()) -> str:
    """Show images `(B, H, W, C)` as one grid, enlarged by a whole factor; the classes are what a reader hears of it."""
    columns = math.ceil(math.sqrt(len(pixels)))
    longest = max(pixels.shape[1:3]) * columns
    factor = max(1, min(_GRID_PIXELS // longest, 256 // max(pixels.shape[1:3])))
    shown = np.stack([enlarge(to_8_bits(image), factor) for image in pixels])
    alt = f"{len(pixels)} images" + (f": {', '.join(classes)}" if classes else "")
    return part(
        f'<div class="grid">{image_tag(image_grid(shown, columns=columns, gap_pixels=_GAP_PIXELS), alt=alt)}</div>'
    )


def _progress(step: WalkStep | Samples | None) -> Any:
    if isinstance(step, WalkStep):
        return f"{step.done} of {step.total} codes drawn."
    if isinstance(step, Samples):
        return f"{len(step.pixels)} images kept so far."
    return gr.skip()
