"""The tab *Compress*: an image as a file, beside other formats, and a file as an image again.

Shapes: C channels, H x W pixels. Pixels are uint8, with 1 channel for grey and else 3.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import torch
from gradio.processing_utils import save_bytes_to_cache
from torch import Tensor
from torch.nn import functional

from vqvae2.codec.bitstream import CHECK_BYTES
from vqvae2.codec.description import describe_compressed
from vqvae2.config import DecoderName
from vqvae2.errors import BitstreamError
from vqvae2.images import crop_to, to_8_bits, to_pixels, to_rgb
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.report.text import escape, folded, format_count, format_number, settings, table
from vqvae2.sampling.hooks import Hooks
from vqvae2.studio.context import WALK_LIMITS, StudioContext
from vqvae2.studio.image_choice import ImageChoice
from vqvae2.studio.image_formats import FORMATS, FormatFile, psnr_db
from vqvae2.studio.page_parts import figure_row, note, part, psnr_words, report_html
from vqvae2.studio.uploads import MOST_CODED_PIXELS, GivenImage, bounded_size
from vqvae2.studio.walk_view import walk_hooks

__all__ = [
    "Comparison",
    "OpenedFile",
    "build",
    "compare_files",
    "comparison_html",
    "open_file",
    "opened_html",
    "shrink_to_compress",
]

_INTRO = """An image becomes a `.vq2` file: the codes of its levels, entropy coded with the priors. JPEG and WebP get
the lowest quality that comes as close to the image as our file does; PNG is lossless. Sizes are of whole files, with
headers and checksums. A pipeline does well on images like those it was trained on; on others, the other formats often
win."""

_SHOWN_PIXELS = 192  # four pictures fit side by side
_PROGRESS = gr.Progress()  # as the default of an argument, gradio replaces it by the progress of the event


class Comparison(NamedTuple):
    """An image as files of several formats."""

    original: np.ndarray
    """At 8 bits, `(H, W, C)`."""
    files: tuple[FormatFile, ...]
    """Ours first."""


class OpenedFile(NamedTuple):
    """An image out of a file."""

    views: tuple[tuple[int, np.ndarray], ...]
    """The image `(H, W, C)` from the top level alone, from the upper two, and so on to all, each with the length in
    bytes of the beginning of the file that it needs."""
    facts: dict[str, Any]
    """What the file says of itself, see `describe_compressed`."""


def build(context: StudioContext, decoder: gr.Radio) -> None:
    """Lay out the tab; files are the same with each decoder, and what is shown of them is not."""
    pipeline = context.pipeline
    gr.Markdown(_INTRO, elem_classes="intro")
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            choice = ImageChoice(context, "an image to compress", name="compress")
            download = gr.DownloadButton("Download the .vq2 file", interactive=False, elem_id="compress-download")
        with gr.Column(scale=3):
            result = report_html("compress-result")
    gr.Markdown("### From a file to an image")
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="a .vq2 file", file_types=[".vq2"], elem_id="decompress-file", height=140)
        with gr.Column(scale=3):
            opened = report_html("decompress-result")

    def hooks(progress: gr.Progress) -> Hooks:
        return walk_hooks(context.turns, lambda step: progress((step.done, step.total), unit="codes"))

    def compress(decoder: DecoderName, given: GivenImage | None, progress: gr.Progress = _PROGRESS) -> Any:
        if given is None:
            return gr.skip()
        image, shrunk = shrink_to_compress(given.image)
        with context.turns.take():
            comparison = compare_files(pipeline, image, decoder=decoder, hooks=hooks(progress))
        name = f"{given.name.replace(' ', '-')}.vq2"
        path = save_bytes_to_cache(comparison.files[0].data, name, cache_dir=download.GRADIO_CACHE)
        html = comparison_html(comparison, about=f"{given.note} {shrunk}".strip())
        return given, gr.DownloadButton(value=path, interactive=True), html

    def decompress(decoder: DecoderName, path: str | None, progress: gr.Progress = _PROGRESS) -> str:
        if path is None:
            return ""
        with context.turns.take():
            found = open_file(pipeline, Path(path).read_bytes(), decoder=decoder, hooks=hooks(progress))
        return opened_html(found, classes=pipeline.config.classes)

    compressed = gr.State(None)  # the image, once there is a file of one
    outputs = [compressed, download, result]
    choice.then(compress, [decoder, choice.chosen], outputs, **WALK_LIMITS)
    decoder.input(compress, [decoder, compressed], outputs, trigger_mode="always_last", **WALK_LIMITS)
    file.upload(decompress, [decoder, file], opened, **WALK_LIMITS)
    decoder.input(decompress, [decoder, file], opened, trigger_mode="always_last", **WALK_LIMITS)
    file.clear(lambda: "", None, opened)


def shrink_to_compress(image: Tensor) -> tuple[Tensor, str]:
    """Scale an image `(C, H, W)` in [-1, 1] down to `MOST_CODED_PIXELS` if it has more, and say so in a sentence."""
    height, width = image.shape[1:]
    if height * width <= MOST_CODED_PIXELS:
        return image, ""
    size = bounded_size(height, width, MOST_CODED_PIXELS)
    smaller = functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(-1.0, 1.0)
    return smaller, (
        f"It was scaled down from {width}x{height} to {size[1]}x{size[0]} before compression, since every code takes "
        "time; `vqvae2 compress` accepts larger images."
    )


@torch.inference_mode()
def compare_files(
    pipeline: Pipeline, image: Tensor, *, decoder: DecoderName | None = None, hooks: Hooks = Hooks()
) -> Comparison:
    """Compress an image losslessly after quantization, and in other formats at the lowest quality as good as ours.

    Args:
        pipeline: Without priors it writes raw files.
        image: `(C, H, W)` in [-1, 1].
        decoder: Of what our file decodes to; None takes the pipeline's default.
        hooks: Told of codes done.

    Raises:
        BitstreamError: If it cannot be coded.
    """
    data = pipeline.compress(image, hooks=hooks)  # it verifies the file by decoding it
    setting = "prior" if pipeline.priors else "raw"
    decoded = crop_to(pipeline.decode(pipeline.encode(image[None]), decoder=decoder), *image.shape[1:])
    original, pixels = (_shown(one, pipeline) for one in (image, decoded[0]))
    ours = FormatFile(name="vqvae2", setting=setting, data=data, pixels=pixels, psnr_db=psnr_db(pixels, original))
    others = [one.smallest_of_psnr(original, ours.psnr_db) for one in FORMATS if one.is_available]
    return Comparison(original, (ours, *others))


@torch.inference_mode()
def open_file(
    pipeline: Pipeline, data: bytes, *, decoder: DecoderName | None = None, hooks: Hooks = Hooks()
) -> OpenedFile:
    """Decompress a file, from all levels and from the upper ones alone; see `compare_files` for the arguments.

    Raises:
        BitstreamError: If it is no such file, damaged, of another pipeline, or of an image of more than
            `MOST_CODED_PIXELS`.
    """
    stream = pipeline.codec.read(data)
    height, width = stream.header.size
    if height * width > MOST_CODED_PIXELS:
        raise BitstreamError(
            f"an image in the studio must have at most {MOST_CODED_PIXELS} pixels, this file's has {height * width}; "
            "use `vqvae2 decompress`"
        )
    codes = pipeline.codec.decompress_codes([stream], hooks=hooks)
    previews = (pipeline.decode(codes, levels=level, decoder=decoder) for level in range(1, len(codes) + 1))
    pictures = [_shown(crop_to(preview, height, width)[0], pipeline) for preview in previews]
    # Header, then for each level its payload and its check.
    ends = len(stream.header.pack()) + np.cumsum([count + CHECK_BYTES for count in stream.header.payload_bytes])
    lengths = [*ends[:-1].tolist(), len(data)]
    return OpenedFile(tuple(zip(lengths, pictures, strict=True)), describe_compressed(io.BytesIO(data)))


def _shown(image: Tensor, pipeline: Pipeline) -> np.ndarray:
    """Turn `(C, H, W)` into 8 bits, grey or, on white, RGB: what the other formats take."""
    images = image[None].float().cpu()
    images = to_rgb(images) if images.shape[1] == 4 else images
    return to_8_bits(to_pixels(images, bit_depth=pipeline.config.bit_depth)[0].numpy())


def comparison_html(comparison: Comparison, *, about: str = "") -> str:
    """Show the lossy pictures side by side, all sizes as a table with bars, and a sentence about the image."""
    ours, *others = comparison.files
    height, width = comparison.original.shape[:2]
    figures = [("original", f"{width}x{height} pixels", comparison.original)]
    figures += [
        (one.name, f"{format_count(one.num_bytes)} bytes, {psnr_words(one.psnr_db)}", one.pixels)
        for one in comparison.files
        if one is ours or not math.isinf(one.psnr_db)  # a lossless one is the original again
    ]
    most = max(one.num_bytes for one in comparison.files)
    rows = [
        [
            f"{escape(one.name)} <small>{escape(one.setting)}</small>",
            format_count(one.num_bytes),
            format_number(one.bits_per_pixel),
            psnr_words(one.psnr_db),
            f'<div class="bar{" ours" if one is ours else ""}" style="width: {100 * one.num_bytes / most:.1f}%"></div>',
        ]
        for one in comparison.files
    ]
    verdict = "; ".join(
        f"{one.name} takes {one.num_bytes / ours.num_bytes:.2g} times our bytes"
        for one in others
        if one.psnr_db >= ours.psnr_db
    )
    notes = [f"{one.name} ({one.setting}): {one.note} than our file." for one in others if one.note]
    return part(
        figure_row(figures, _SHOWN_PIXELS),
        f'<div class="bars">{table(["file", "bytes", "bits per pixel", "PSNR", ""], rows)}</div>',
        *map(note, (verdict and f"{verdict}.", *notes, about)),
    )


def opened_html(opened: OpenedFile, *, classes: tuple[str, ...] = ()) -> str:
    """Show the image of a file, its previews, and what the file says of itself, with the pipeline's classes."""
    *previews, (num_bytes, whole) = opened.views
    shown = [("from the whole file", f"{format_count(num_bytes)} bytes", whole)]
    for levels, (num_bytes, preview) in enumerate(previews, start=1):
        title = "from the top level alone" if levels == 1 else f"from the upper {levels} levels"
        shown.append((title, f"its first {format_count(num_bytes)} bytes", preview))
    facts = folded("What the file says of itself", _facts_html(opened.facts, classes))
    return part(figure_row(shown, _SHOWN_PIXELS), facts)


def _facts_html(facts: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    label = facts["class_index"]
    shown = {name: value for name, value in facts.items() if name not in ("kind", "levels", "class_index")}
    shown["class"] = None if label is None else classes[label]
    for level in facts["levels"]:
        shown[f"level {level['level']}"] = f"{level['bytes']} bytes, {level['bits_per_pixel']:.3f} bits per pixel"
    shown["bits_per_pixel"] = f"{facts['bits_per_pixel']:.3f}"
    return settings({name: "none" if value is None else value for name, value in shown.items()})
