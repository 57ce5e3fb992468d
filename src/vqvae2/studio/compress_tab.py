"""The tab *Compress*: an image as a file, beside other formats, and a file as an image again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache

from vqvae2.errors import DataError
from vqvae2.report.text import escape, folded, format_count, format_number, settings, table
from vqvae2.sampling.hooks import Hooks
from vqvae2.studio.context import StudioContext
from vqvae2.studio.file_comparison import (
    MOST_FILE_BYTES,
    Comparison,
    OpenedFile,
    compare_files,
    open_file,
    shrink_to_compress,
)
from vqvae2.studio.image_input import example_gallery, file_of_image
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.pictures import enlarge
from vqvae2.studio.report_parts import figure_row, part, psnr_words, report_html, report_style
from vqvae2.studio.uploads import Upload, read_upload

__all__ = ["build", "comparison_html", "opened_html", "read_dropped_file"]

_INTRO = """An image becomes a `.vq2` file: the codes of its levels, entropy coded by the priors. JPEG and WebP are
given the lowest quality at which they come as near to the image as our file does; PNG loses nothing. Sizes are of whole
files, with headers and checksums. A pipeline does well on images like those that it was trained on; on others the other
formats often win."""


_SHOWN_PIXELS = 192  # of the longer side: four pictures fit side by side


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    report_style()
    gr.Markdown(_INTRO, elem_classes="intro")
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            image = file_of_image("an image to compress", elem_id="compress-image")
            examples = example_gallery(context, elem_id="compress-examples")
            download = gr.DownloadButton("Download the .vq2 file", interactive=False, elem_id="compress-download")
        with gr.Column(scale=3):
            result = report_html("compress-result")
    gr.Markdown("### From a file to an image")
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="a .vq2 file", file_types=[".vq2"], elem_id="decompress-file", height=140)
        with gr.Column(scale=3):
            opened = report_html("decompress-result")

    def compress(upload: Upload, name: str, progress: gr.Progress) -> tuple[Any, str]:
        image, note = shrink_to_compress(upload.image)
        with context.turns.take():
            comparison = compare_files(context.pipeline, image, hooks=_hooks(context, progress))
        path = save_bytes_to_cache(comparison.data, f"{name}.vq2", cache_dir=download.GRADIO_CACHE)
        return gr.DownloadButton(value=path, interactive=True), comparison_html(
            comparison, note=f"{upload.note} {note}".strip()
        )

    @in_plain_words
    def compress_upload(path: str | None, progress: gr.Progress = _PROGRESS) -> tuple[Any, str]:
        return compress(read_upload(path, context.pipeline), Path(path or "image").stem, progress)

    @in_plain_words
    def compress_example(event: gr.SelectData, progress: gr.Progress = _PROGRESS) -> tuple[Any, str]:
        example = context.examples[event.index]
        return compress(Upload(example.image, ""), example.name.replace(" ", "-"), progress)

    @in_plain_words
    def decompress(path: str | None, progress: gr.Progress = _PROGRESS) -> str:
        data = read_dropped_file(path)
        with context.turns.take():
            found = open_file(context.pipeline, data, hooks=_hooks(context, progress))
        return opened_html(found, classes=context.pipeline.config.classes)

    shown = {"outputs": [download, result], **context.walk_limits}
    image.upload(compress_upload, image, **shown)
    examples.select(compress_example, None, **shown)
    file.upload(decompress, file, opened, **context.walk_limits)
    file.clear(lambda: "", None, opened)


_PROGRESS = gr.Progress()


def _hooks(context: StudioContext, progress: gr.Progress) -> Hooks:
    """Show how many codes are done, and let other visitors compute in between."""

    def tell(done: int, total: int) -> None:
        progress((done, total), unit="codes")
        context.turns.pass_on()

    return Hooks(on_progress=tell)


def read_dropped_file(path: Path | str | None) -> bytes:
    """Read a file that may be anything.

    Raises:
        DataError: If there is none, or it is larger than any that the studio opens.
    """
    if path is None:
        raise DataError("there is no file yet; drop one that `vqvae2 compress` or this page made")
    with Path(path).open("rb") as file:
        data = file.read(MOST_FILE_BYTES + 1)
    if len(data) > MOST_FILE_BYTES:
        raise DataError(
            f"the studio opens files of at most {MOST_FILE_BYTES} bytes, this one is larger; use `vqvae2 decompress`"
        )
    return data


def comparison_html(comparison: Comparison, *, note: str = "") -> str:
    """Show the pictures side by side but those that lose nothing, and the sizes as a table with bars.

    Args:
        comparison: What to show.
        note: A sentence about the image.
    """
    figures = [("original", _size(comparison.original.shape), _enlarged(comparison.original))]
    figures += [
        (one.name, f"{format_count(one.num_bytes)} bytes, {psnr_words(one.psnr_db)}", _enlarged(one.pixels))
        for one in comparison.files
        if one is comparison.files[0] or not math.isinf(one.psnr_db)  # which would be the original once more
    ]
    most = max(one.num_bytes for one in comparison.files)
    rows = [
        [
            f"{escape(one.name)} <small>{escape(one.setting)}</small>",
            format_count(one.num_bytes),
            format_number(one.bits_per_pixel),
            psnr_words(one.psnr_db),
            f'<div class="bar{" ours" if one is comparison.files[0] else ""}" '
            f'style="width: {100 * one.num_bytes / most:.1f}%"></div>',
        ]
        for one in comparison.files
    ]
    notes = [f"{one.name} ({one.setting}): {one.note} than our file." for one in comparison.files if one.note]
    return part(
        figure_row(figures),
        f'<div class="bars">{table(["file", "bytes", "bits per pixel", "PSNR", ""], rows)}</div>',
        *(f'<p class="note">{escape(line)}</p>' for line in (_verdict(comparison), *notes, note) if line),
    )


def opened_html(opened: OpenedFile, *, classes: tuple[str, ...] = ()) -> str:
    """Show the image of a file, its previews, and what the file says of itself.

    Args:
        opened: What to show.
        classes: Names of the pipeline's.
    """
    figures = [("from the whole file", f"{format_count(opened.facts['bytes'])} bytes", _enlarged(opened.pixels))]
    for levels, (preview, count) in enumerate(zip(opened.previews, opened.preview_bytes, strict=True), start=1):
        which = "the top level alone" if levels == 1 else f"the upper {levels} levels"
        figures.append((f"from {which}", f"its first {format_count(count)} bytes", _enlarged(preview)))
    return part(figure_row(figures), folded("What the file says of itself", settings(_facts(opened.facts, classes))))


def _facts(facts: Mapping[str, Any], classes: tuple[str, ...]) -> dict[str, Any]:
    label = facts["class_index"]
    shown = {name: value for name, value in facts.items() if name not in ("kind", "levels", "class_index")}
    shown["class"] = None if label is None else classes[label]
    for level in facts["levels"]:
        shown[f"level {level['level']}"] = f"{level['bytes']} bytes, {level['bits_per_pixel']:.3f} bits per pixel"
    shown["bits_per_pixel"] = f"{facts['bits_per_pixel']:.3f}"
    return {name: "none" if value is None else value for name, value in shown.items()}


def _verdict(comparison: Comparison) -> str:
    """Say how many times our bytes the others take, where they are as near to the image."""
    ours, *others = comparison.files
    parts = [
        f"{one.name} takes {one.num_bytes / ours.num_bytes:.2g} times our bytes"
        for one in others
        if one.psnr_db >= ours.psnr_db
    ]
    return "; ".join(parts) + "." if parts else ""


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    return enlarge(pixels, max(1, _SHOWN_PIXELS // max(pixels.shape[:2])))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"
