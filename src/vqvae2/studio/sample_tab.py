"""The tab *Sample*: new images, which appear front by front as their codes are drawn.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import io
import math
import random
import shlex
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import torch
from gradio.processing_utils import save_bytes_to_cache

from vqvae2.config import DecoderName, LevelSampling, SamplingConfig
from vqvae2.errors import VQVAE2Error
from vqvae2.images import encode_png, image_grid, to_8_bits, to_pixels
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.pipeline.sample_streams import DrawnSample, sample_accepted, sample_all
from vqvae2.report.pictures import image_tag
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.context import StudioContext
from vqvae2.studio.draw_controls import NO_PRIORS, DrawControls
from vqvae2.studio.live_work import watch
from vqvae2.studio.page_parts import enlarge, part, report_html
from vqvae2.studio.walk_view import WalkStep, view_front, walk_hooks
from vqvae2.training.runtime import choose_device

__all__ = [
    "MOST_IMAGES",
    "SampleRequest",
    "Samples",
    "build",
    "draw",
    "grid_html",
    "grid_png",
    "samples_zip",
    "shown_pixels",
]

MOST_IMAGES = 64
"""Per request. It is the batch size of `vqvae2 sample`, so that both draw the same single batch."""

_INTRO = """New images: the priors draw codes from the upper left to the lower right, the top level first, and the
decoder turns them into pixels. While the bottom level is drawn, the part still to come shows what the top alone says.
The same values give the same images."""
_LARGEST_SEED = 2**31
_GRID_PIXELS = 640  # longer side of the grid on the page
_GAP_PIXELS = 2


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """How many images to draw, and of which kind."""

    num_images: int = 16
    acceptance_rate: float = 1.0
    """1 keeps every image and needs no classifier."""
    drawing: DrawRequest = field(default_factory=DrawRequest)

    def command(self, context: StudioContext) -> str:
        """Give the shell command that draws the same images."""
        config, label, plain = context.pipeline.config, self.drawing.label, SamplingConfig()
        sampling = self.drawing.sampling or config.sampling
        words = ["vqvae2", "sample", context.source, "--out", "samples", "--num-images", str(self.num_images)]
        words += ["--seed", str(self.drawing.seed)]
        if label is not None:
            words += ["--class", config.classes[int(label)]]
        for name in LevelSampling._fields:
            values = getattr(sampling, name)
            if not values == getattr(config.sampling, name) == getattr(plain, name):  # the pipeline's may change
                words += [f"--{name.replace('_', '-')}", *map(str, values)]
        if not sampling.guidance_scale == config.sampling.guidance_scale == plain.guidance_scale:
            words += ["--guidance-scale", str(sampling.guidance_scale)]
        if self.acceptance_rate < 1.0:
            words += ["--acceptance-rate", str(self.acceptance_rate)]
        if len(context.pipeline.decoders) > 1:
            words += ["--decoder", config.default_decoder]
        device = context.pipeline.device.type
        if device != choose_device().type:
            words += ["--device", device]
        return shlex.join(words)


class Samples(NamedTuple):
    """Images that were drawn."""

    pixels: np.ndarray
    """uint8 or uint16 `(B, H, W, C)`."""
    numbers: tuple[int, ...]
    """Which images of the seed they are, ascending."""
    classes: tuple[str, ...]
    """Intended class of each; empty without classes."""


def build(context: StudioContext, decoder: gr.Radio) -> None:
    """Lay out the tab; drawings take the decoder."""
    gr.Markdown(_INTRO, elem_classes="intro")
    if not context.pipeline.priors:
        gr.Markdown(NO_PRIORS)
        return
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            controls = DrawControls(context, name="sample")
            count, rate = _lay_out_choices(context, controls)
            controls.lay_out_buttons()
        with gr.Column(scale=3):
            outputs = _lay_out_results()
    cache = outputs[-1].GRADIO_CACHE

    def finish(own: StudioContext, request: SampleRequest, samples: Samples) -> tuple[Any, ...]:
        command, name = request.command(own), f"samples-seed-{request.drawing.seed}"
        files = {f"{name}.png": grid_png(samples.pixels), f"{name}.zip": samples_zip(samples, command)}
        paths = [save_bytes_to_cache(data, file, cache_dir=cache) for file, data in files.items()]
        return (
            f"{len(samples.pixels)} images of seed {request.drawing.seed}.",
            grid_html(samples.pixels, samples.classes),
            gr.Code(value=command, visible=True),
            *(gr.DownloadButton(value=path, interactive=True) for path in paths),
        )

    def show(own: StudioContext, step: WalkStep | Samples | None) -> Any:
        if step is None:
            return gr.skip()
        if isinstance(step, Samples):
            progress = f"{len(step.pixels)} images kept so far."
        else:
            progress = f"{step.done} of {step.total} codes drawn."
        pixels = shown_pixels(own, step)
        return progress, gr.skip() if pixels is None else grid_html(pixels), *(gr.skip() for _ in range(3))

    def draw_live(decoder: DecoderName, count: int, rate: float, *values: Any) -> Iterator[Any]:
        own = context.by_decoder[decoder]
        request = SampleRequest(num_images=int(count), acceptance_rate=float(rate), drawing=controls.request(values))
        no_file = gr.DownloadButton(value=None, interactive=False)
        yield "Waiting for the first codes.", gr.skip(), gr.Code(visible=False), no_file, no_file
        try:
            samples = yield from watch(partial(draw, own, request), partial(show, own))
        except VQVAE2Error:
            yield "Nothing was drawn.", *(gr.skip() for _ in range(4))
            raise
        yield finish(own, request, samples)

    controls.on_draw(draw_live, [decoder, count, rate], outputs)


def _lay_out_choices(context: StudioContext, controls: DrawControls) -> tuple[gr.Slider, gr.Slider]:
    """Lay out what to draw, and return the number of images and the acceptance rate."""
    controls.lay_out_class("any class")
    count = gr.Slider(1, MOST_IMAGES, value=16, step=1, label="number of images", elem_id="sample-count")
    seed = controls.lay_out_seed()
    another = gr.Button("Another seed", size="sm", elem_id="sample-another-seed")
    another.click(lambda: random.randrange(_LARGEST_SEED), None, seed, queue=False)
    rate = gr.Slider(
        0.05,
        1.0,
        value=1.0,
        step=0.05,
        label="acceptance rate",
        info="below 1: draw more images, and keep those a classifier is surest of",
        visible=context.classifier is not None and bool(context.pipeline.config.classes),
        elem_id="sample-rate",
    )
    controls.lay_out_settings(context.pipeline.config.sampling)
    return count, rate


def _lay_out_results() -> list[gr.components.Component]:
    """Lay out status, grid, command and both downloads, which a drawing fills in this order."""
    status = gr.Markdown("Press *Draw*.", elem_id="sample-status")
    grid = report_html("sample-grid")
    command = gr.Code(
        label="command that reproduces these images",
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


def draw(context: StudioContext, request: SampleRequest, tell: Callable[[WalkStep | Samples], None]) -> Samples:
    """Draw what is asked for, taking turns with others.

    Args:
        context: The studio's, with a classifier if not all images are kept.
        request: What to draw.
        tell: Receives each step of a walk and the images kept so far; what it raises ends the drawing.
    """
    pipeline, hooks = context.pipeline, walk_hooks(context.turns, tell)
    if request.acceptance_rate == 1.0:
        samples = sample_all(pipeline, request.num_images, request.drawing, batch_size=MOST_IMAGES, hooks=hooks)
    else:
        assert context.classifier is not None
        samples = sample_accepted(
            pipeline,
            context.classifier,
            request.num_images,
            request.drawing,
            acceptance_rate=request.acceptance_rate,
            batch_size=MOST_IMAGES,
            hooks=replace(hooks, on_front=None),  # candidates are not shown
        )
    kept: dict[int, DrawnSample] = {}
    with context.turns.take():
        for sample in samples:
            if sample.displaced is not None:
                del kept[sample.displaced]
            kept[sample.number] = sample
            tell(_gather(kept, pipeline))
        return _gather(kept, pipeline)


def _gather(kept: dict[int, DrawnSample], pipeline: Pipeline) -> Samples:
    samples = [kept[number] for number in sorted(kept)]
    return Samples(
        torch.stack([sample.pixels for sample in samples]).numpy(),
        tuple(sample.number for sample in samples),
        tuple(pipeline.config.classes[sample.label] for sample in samples if sample.label is not None),
    )


def grid_png(pixels: np.ndarray) -> bytes:
    """Lay images `(B, H, W, C)` out as `vqvae2 sample` does, as the bytes of a PNG file."""
    return encode_png(image_grid(pixels, columns=math.ceil(math.sqrt(len(pixels)))))


def samples_zip(samples: Samples, command: str) -> bytes:
    """Pack images into a ZIP archive, under the names that `vqvae2 sample` gives them, with that command."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # uncompressed: PNG files are compressed already
        for number, pixels in zip(samples.numbers, samples.pixels, strict=True):
            archive.writestr(f"{number:06d}.png", encode_png(pixels))
        archive.writestr("command.txt", command + "\n")
    return buffer.getvalue()


def shown_pixels(context: StudioContext, step: WalkStep | Samples) -> np.ndarray | None:
    """Give what a drawing can show so far, uint8 or uint16 `(B, H, W, C)`; None before the first front."""
    if isinstance(step, Samples):
        return step.pixels
    if step.front is None:
        return None
    with context.turns.take():
        images = view_front(context.pipeline, step.front)
    return to_pixels(images, bit_depth=context.pipeline.config.bit_depth).cpu().numpy()


def grid_html(pixels: np.ndarray, classes: tuple[str, ...] = ()) -> str:
    """Show images `(B, H, W, C)` as one grid, enlarged by a whole factor; a screen reader hears their classes."""
    columns = math.ceil(math.sqrt(len(pixels)))
    side = max(pixels.shape[1:3])
    factor = max(1, min(_GRID_PIXELS // (side * columns), 256 // side))
    shown = np.stack([enlarge(to_8_bits(image), factor) for image in pixels])
    alt = f"{len(pixels)} images" + (f": {', '.join(classes)}" if classes else "")
    grid = image_grid(shown, columns=columns, gap_pixels=_GAP_PIXELS)
    return part(f'<div class="grid">{image_tag(grid, alt=alt)}</div>')
