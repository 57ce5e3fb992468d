"""The tab *Reconstruct*: an image decoded from its top codes alone, and with each further level.

Shapes: C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import gradio as gr
import torch
from torch import Tensor

from vqvae2.codec.fixed_width import code_bits
from vqvae2.codes import Codes
from vqvae2.config import DecoderName
from vqvae2.images import crop_to
from vqvae2.metrics.distortion import ReconstructionError
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.report.pictures import code_colors
from vqvae2.report.text import escape, format_count, format_number, table
from vqvae2.studio.context import WALK_LIMITS, StudioContext
from vqvae2.studio.image_choice import ImageChoice
from vqvae2.studio.page_parts import enlarge, enlargement, figure_row, note, part, psnr_words, report_html
from vqvae2.studio.uploads import MOST_CODED_PIXELS, GivenImage
from vqvae2.studio.walk_view import walk_hooks

__all__ = ["Reconstruction", "build", "coded", "numbers_html", "pictures_html", "reconstruct"]

_INTRO = """Each level turns an image into **codes**, whole numbers that stand for learned patches, and the image is
rebuilt from them. The top level keeps what is where; each level below adds detail. Drop an image, or pick one."""

_LEGEND = """On the right, below each image: the codes of the level that it adds, drawn over the pixels that they stand
for. Each square is one code; equal codes have equal colours, and the colours mean nothing else."""


_SHOWN_PIXELS = 256  # longer side, large enough to look at
_SHOWN_BESIDE_PIXELS = 192  # with another decoder's image, so that four fit side by side


class Reconstruction(NamedTuple):
    """An image, and what each level makes of it."""

    original: Tensor
    """`(C, H, W)` in [-1, 1]; all tensors are on the CPU."""
    codes: Codes
    """Of this one image."""
    images: tuple[Tensor, ...]
    """Decoded from the top level alone, from the upper two, and so on: each `(C, H, W)`, about [-1, 1]."""
    psnr_db: tuple[float, ...]
    """Of these images; infinite where one equals the original."""
    others: Mapping[DecoderName, tuple[Tensor, float]]
    """For each decoder that is not the pipeline's default, its image from all levels, and the PSNR of it."""

    @property
    def num_pixels(self) -> int:
        return math.prod(self.original.shape[1:])


def build(context: StudioContext, decoder: gr.Radio) -> None:
    """Lay out the tab; all levels are decoded with the decoder, and the whole image with each other one too."""
    gr.Markdown(_INTRO, elem_classes="intro")
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            choice = ImageChoice(context, "your image", name="reconstruct")
        with gr.Column(scale=3):
            pictures = report_html("reconstruct-pictures")
            numbers = report_html("reconstruct-numbers")
    shown = gr.State(None)

    def show(decoder: DecoderName, given: GivenImage) -> tuple[Reconstruction, str, str]:
        with context.turns.take():
            made = reconstruct(context.by_decoder[decoder].pipeline, given.image)
        return made, pictures_html(context, made, about=given.note), numbers_html(context, made)

    def measure(made: Reconstruction) -> str:
        """Add what a file takes; this is slower than the pictures, which are shown before."""
        return numbers_html(context, made, coded(context, made.original))

    inputs, outputs = [decoder, choice.chosen], [shown, pictures, numbers]
    made, pictures.value, _ = show(*(one.value for one in inputs))  # what the page opens with
    numbers.value = measure(made)
    for event in (
        *choice.then(show, inputs, outputs),
        decoder.input(show, inputs, outputs, trigger_mode="always_last"),
    ):
        event.success(measure, shown, numbers, show_progress="hidden", **WALK_LIMITS)


def reconstruct(pipeline: Pipeline, image: Tensor) -> Reconstruction:
    """Encode an image `(C, H, W)` in [-1, 1] of any size, and decode it with one more level at a time."""
    codes = pipeline.encode(image[None])

    def decode(levels: int | None = None, decoder: DecoderName | None = None) -> tuple[Tensor, float]:
        decoded = crop_to(pipeline.decode(codes, levels=levels, decoder=decoder), *image.shape[-2:]).cpu()
        error = ReconstructionError()
        error.update(decoded, image[None])
        return decoded[0], error.psnr_db

    images, psnr_db = zip(*(decode(levels) for levels in range(1, len(codes) + 1)), strict=True)
    others = {name: decode(decoder=name) for name in pipeline.decoders[1:]}
    return Reconstruction(image, codes.to("cpu"), images, psnr_db, others)


@torch.inference_mode()
def coded(context: StudioContext, image: Tensor) -> bytes | None:
    """Compress an image `(C, H, W)` in [-1, 1] with the priors, taking turns with others.

    Returns:
        The file; None without priors, and for images of more than `MOST_CODED_PIXELS`.
    """
    pipeline = context.pipeline
    if not pipeline.priors or math.prod(image.shape[1:]) > MOST_CODED_PIXELS:
        return None
    with context.turns.take():
        return pipeline.compress(image, mode="prior", verify=False, hooks=walk_hooks(context.turns))


def pictures_html(context: StudioContext, made: Reconstruction, *, about: str = "") -> str:
    """Show a sentence about the image, the image, what each further level and other decoder adds, and the codes."""
    config = context.pipeline.tokenizer.config
    height, width = made.original.shape[1:]
    pixels = _SHOWN_BESIDE_PIXELS if made.others else _SHOWN_PIXELS
    factor = enlargement(height, width, pixels)
    original = [("original", f"{width}x{height} pixels", context.picture(made.original))]
    columns = [figure_row(original, pixels) + f'<p class="note" style="width: {pixels}px">{_LEGEND}</p>']
    for level, codes in enumerate(made.codes):
        name, (height_codes, width_codes) = config.level_names[level], codes.shape[1:]
        # The grid of codes may reach beyond the image.
        colors = enlarge(code_colors(codes[0].numpy()), config.reductions[level] * factor)
        painted = colors[: height * factor, : width * factor]
        grid = f"{width_codes}x{height_codes}, each one of {config.codebook_sizes[level]}"
        decoded = (_level_title(level, name), psnr_words(made.psnr_db[level]), context.picture(made.images[level]))
        rows = (figure_row([one], pixels) for one in (decoded, (f"codes of the {name} level", grid, painted)))
        columns.append("".join(rows))
    for name, (image, psnr_db) in made.others.items():
        other = (f"by the {name} decoder", psnr_words(psnr_db), context.picture(image))
        columns.append(figure_row([other], pixels))
    kind = "row" if factor > 1 else "row large"
    return part(note(about), f'<div class="{kind}">{"".join(f"<div>{column}</div>" for column in columns)}</div>')


def numbers_html(context: StudioContext, made: Reconstruction, file: bytes | None = None) -> str:
    """List what each level costs and how close it brings the image; its file, see `coded`, may be unknown."""
    config = context.pipeline.tokenizer.config
    level_bytes = () if file is None else context.pipeline.codec.read(file).header.payload_bytes
    rows = []
    raw_bits = coded_bits = 0
    for level, codes in enumerate(made.codes):
        raw_bits += codes.numel() * code_bits(config.codebook_sizes[level])
        cells = [format_count(raw_bits), format_number(raw_bits / made.num_pixels), "", ""]
        if file is not None:
            coded_bits += 8 * level_bytes[level]
            cells[2:] = [format_count(coded_bits), format_number(coded_bits / made.num_pixels)]
        title = escape(_level_title(level, config.level_names[level]))
        rows.append([title, *cells, psnr_words(made.psnr_db[level])])
    header = ["decoded from", "raw bits", "bits per pixel", "coded bits", "bits per pixel", "PSNR"]
    notes = [
        "Raw: every code takes as many bits as its codebook needs. Coded: likelier codes take fewer bits, by the "
        "priors' probabilities. PSNR says how close the image is: 6 dB more mean half the RMS error."
    ]
    if file is not None:
        per_pixel = format_number(8 * len(file) / made.num_pixels)
        notes.append(
            f"As a file, with header and checksums: {format_count(len(file))} bytes, {per_pixel} bits per pixel."
        )
    elif not context.pipeline.priors:
        notes.append("This pipeline has no priors, so its codes cannot be entropy coded.")
    elif made.num_pixels > MOST_CODED_PIXELS:
        notes.append(f"Images of more than {format_count(MOST_CODED_PIXELS)} pixels are not compressed here.")
    return part(table(header, rows), *map(note, notes))


def _level_title(level: int, name: str) -> str:
    return f"{name} level alone" if level == 0 else f"with the {name} level"
