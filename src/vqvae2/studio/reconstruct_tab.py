"""The tab *Reconstruct*: an image as its codes keep it, from the top level alone and with each further one."""

from __future__ import annotations

from typing import Any

import gradio as gr
from torch import Tensor

from vqvae2.report.text import escape, format_count, format_number, table
from vqvae2.sampling.hooks import Hooks
from vqvae2.studio.context import StudioContext
from vqvae2.studio.image_input import example_gallery, file_of_image
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.pictures import code_map_picture, enlarge, enlargement, to_picture
from vqvae2.studio.reconstruction import MOST_CODED_PIXELS, FileSize, LevelStep, Reconstruction, file_size, reconstruct
from vqvae2.studio.report_parts import figure_row, part, psnr_words, report_html, report_style
from vqvae2.studio.uploads import Upload, read_upload

__all__ = ["build", "numbers_html", "pictures_html"]

_INTRO = """An image becomes a few **codes** on each level, whole numbers that stand for learned patches, and is
rebuilt from them. The top level keeps what is where; each level below adds detail. Drop an image of any size, or pick
one."""

_LEGEND = """On the right, below each image: the codes of the level that it adds, over the pixels that they stand for.
Each square is one code; equal codes have equal colours, and the colours mean nothing else."""


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    report_style()
    gr.Markdown(_INTRO, elem_classes="intro")
    first = context.examples[0].image if context.examples else None
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            image = file_of_image("your image", elem_id="reconstruct-image")
            examples = example_gallery(context, elem_id="reconstruct-examples")
        with gr.Column(scale=3):
            pictures = report_html("reconstruct-pictures")
            numbers = report_html("reconstruct-numbers")
    chosen = gr.State(None)

    def show(upload: Upload) -> tuple[Any, ...]:
        with context.turns.take():
            made = reconstruct(context.pipeline, upload.image)
        shown = pictures_html(made, bit_depth=context.pipeline.config.bit_depth, note=upload.note)
        return upload.image, shown, numbers_html(made, None)

    @in_plain_words
    def show_upload(path: str | None) -> tuple[Any, ...]:
        return show(read_upload(path, context.pipeline))

    @in_plain_words
    def show_example(event: gr.SelectData) -> tuple[Any, ...]:
        return show(Upload(context.examples[event.index].image, ""))

    @in_plain_words
    def weigh(image: Tensor) -> str:
        """Add what a file takes, which is slower than the pictures; they are there before."""
        with context.turns.take():
            made = reconstruct(context.pipeline, image)
            size = file_size(
                context.pipeline, image, hooks=Hooks(on_progress=lambda _done, _total: context.turns.pass_on())
            )
        return numbers_html(made, size, has_priors=bool(context.pipeline.priors))

    if first is not None:  # what the page opens with
        _, pictures.value, _ = show(Upload(first, ""))
        numbers.value = weigh(first)
    outputs = [chosen, pictures, numbers]
    weighing = {"fn": weigh, "inputs": chosen, "outputs": numbers, "show_progress": "hidden", **context.walk_limits}
    image.upload(show_upload, image, outputs).success(**weighing)
    examples.select(show_example, None, outputs).success(**weighing)


def pictures_html(made: Reconstruction, *, bit_depth: int = 8, note: str = "") -> str:
    """Show the image, what is decoded from ever more levels, and below each of these the level's codes.

    Args:
        made: What to show.
        bit_depth: Of the pipeline.
        note: A sentence about the image.
    """
    height, width = made.original.shape[1:]
    factor = enlargement(height, width)
    original = enlarge(to_picture(made.original, bit_depth=bit_depth), factor)
    columns = [
        figure_row([("original", f"{width}x{height} pixels", original)]) + f'<p class="note legend">{_LEGEND}</p>'
    ]
    for index, step in enumerate(made.steps):
        decoded = enlarge(to_picture(step.image, bit_depth=bit_depth), factor)
        rows, row_codes = step.codes.shape
        painted = enlarge(code_map_picture(step.codes), step.reduction * factor)[: height * factor, : width * factor]
        line = f"{row_codes}x{rows}, each one of {step.num_embeddings}"
        columns.append(
            figure_row([(_level_title(index, step), psnr_words(step.psnr_db), decoded)])
            + figure_row([(f"codes of the {step.name} level", line, painted)])
        )
    note_html = f'<p class="note">{escape(note)}</p>' if note else ""
    kind = "row" if factor > 1 else "row large"
    return part(note_html, f'<div class="{kind}">{"".join(f"<div>{column}</div>" for column in columns)}</div>')


def numbers_html(made: Reconstruction, size: FileSize | None, *, has_priors: bool = True) -> str:
    """Lay out what the levels cost and bring.

    Args:
        made: The image.
        size: Of its file; None while it is not known.
        has_priors: Whether it can be known.
    """
    rows = []
    raw_bits = coded_bits = 0
    for index, step in enumerate(made.steps):
        raw_bits += step.raw_bits
        cells = [format_count(raw_bits), format_number(raw_bits / made.num_pixels)]
        if size is None:
            cells += ["", ""]
        else:
            coded_bits += 8 * size.level_bytes[index]
            cells += [format_count(coded_bits), format_number(coded_bits / made.num_pixels)]
        rows.append([escape(_level_title(index, step)), *cells, psnr_words(step.psnr_db)])
    header = ["decoded from", "raw bits", "bits per pixel", "coded bits", "bits per pixel", "PSNR"]
    notes = [
        "Raw: every code with as many bits as its codebook needs. Coded: likely codes get fewer bits, by the priors' "
        "probabilities. PSNR says how near the image is; 6 dB more are half the error."
    ]
    if size is not None:
        file_bits = format_number(8 * size.num_bytes / made.num_pixels)
        notes.append(
            f"As a file, with its head and checksums: {format_count(size.num_bytes)} bytes, {file_bits} bits per pixel."
        )
    elif not has_priors:
        notes.append("This pipeline has no priors, so its codes cannot be coded.")
    elif made.num_pixels > MOST_CODED_PIXELS:
        notes.append(f"For images of more than {format_count(MOST_CODED_PIXELS)} pixels no file is made here.")
    return part(table(header, rows), *(f'<p class="note">{line}</p>' for line in notes))


def _level_title(index: int, step: LevelStep) -> str:
    return f"{step.name} level alone" if index == 0 else f"with the {step.name} level"
