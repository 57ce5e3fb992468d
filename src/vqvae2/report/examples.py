"""Images of the report: reconstructions with their codes, samples, and completions.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqvae2.config import DecoderName, level_names
from vqvae2.data import CodeStore
from vqvae2.metrics.results import Pictures
from vqvae2.report.frame import Section
from vqvae2.report.pictures import (
    code_picture,
    columns_that_fit,
    grid_strips,
    image_tag,
    read_grid,
    shrink,
    shrink_factor,
    shrunk_note,
    strips,
)
from vqvae2.report.text import TIMES, escape

__all__ = ["picture_sections"]

# Above these sides, in pixels, images are shown smaller, to keep the page at some megabytes.
_LARGEST_RECONSTRUCTION, _LARGEST_SAMPLE = 256, 128
_SAMPLE_PIXELS = 600_000


def picture_sections(pictures: Pictures, directory: Path, decoder: DecoderName) -> list[Section]:
    """Show what a run drew with a decoder, and the codes of its reconstructions."""
    return [
        _reconstructions(pictures, directory, decoder),
        _codes(pictures, directory),
        _samples(pictures, directory, decoder),
        _completions(pictures, directory),
    ]


def _reconstructions(pictures: Pictures, directory: Path, decoder: DecoderName) -> Section:
    note = " Rows of fewer levels are by the sharp decoder." if decoder == "sharp" else ""
    return Section(
        key="reconstructions",
        title="Reconstructions",
        lead="Each column is one held-out image, which training has not seen: first the original, then what the "
        "decoder makes of its codes. <b>Good:</b> the top level alone gives the rough shape and colours, each "
        f"further level adds detail, and the last row is hard to tell from the first.{note}",
        body=grid_strips(directory, pictures.reconstructions, pictures.image_size, largest=_LARGEST_RECONSTRUCTION),
    )


def _codes(pictures: Pictures, directory: Path) -> Section:
    """Show the codes of the reconstructed images, each code in its own colour."""
    folder, body = directory / "codes", ""
    if folder.exists():
        codes = CodeStore.open(folder).batch(np.array(pictures.reconstructions.images))
        originals = read_grid(directory / pictures.reconstructions.file, pictures.image_size)[:1]
        rows = [("original", "", shrink(row, largest=_LARGEST_RECONSTRUCTION)) for row in originals]
        height, width = pictures.image_size
        # Large pictures lose every second row and column instead of being averaged: mixed colours mean nothing.
        step = shrink_factor(height, width, largest=_LARGEST_RECONSTRUCTION)
        for name, grid in zip(level_names(len(codes.maps)), codes, strict=True):
            picture = code_picture(grid.numpy(), height=height, width=width)
            picture = picture[:, : height // step * step : step, : width // step * step : step]
            rows.append((name, f"{grid.shape[1]} {TIMES} {grid.shape[2]} codes", picture))
        columns = columns_that_fit(rows[-1][2])
        body = strips([(label, note, images[:columns]) for label, note, images in rows])
    return Section(
        key="codes",
        title="Code maps",
        lead="This is all that is kept of an image: at each level, a grid of numbers. Here each number has its own "
        "colour, the same everywhere; the colours are arbitrary, so like colours do not mean like codes. "
        "<b>Good:</b> plain areas repeat a few codes, and outlines of the image can be made out.",
        body=body,
    )


def _samples(pictures: Pictures, directory: Path, decoder: DecoderName) -> Section:
    """Show the first samples of each class."""
    shown: list[tuple[str, int, np.ndarray]] = []
    note = ""
    for sheet in pictures.samples:
        images = read_grid(directory / sheet.file, pictures.image_size)
        images = images.reshape(-1, *images.shape[2:])[: sheet.num_images]
        if len(images):
            shown.append((sheet.class_name, sheet.num_images, shrink(images, largest=_LARGEST_SAMPLE)))
            note = shrunk_note(images, _LARGEST_SAMPLE)
    each = max(2, _SAMPLE_PIXELS // max(1, sum(images[0, ..., 0].size for _, _, images in shown)))
    parts = []
    for name, count, images in shown:
        more = f" <small>the first {each} of {count}</small>" if count > each else ""
        tags = (
            image_tag(pixels, alt=f"sample {index} {name}".strip()) for index, pixels in enumerate(images[:each], 1)
        )
        parts.append(f"<h3>{escape(name)}{more}</h3>" if name or more else "")
        parts.append(f'<div class="samples">{"".join(tags)}</div>')
    return Section(
        key="samples",
        title="Samples",
        lead="New images: the priors draw codes level by level, and the "
        f"{'sharp decoder' if decoder == 'sharp' else 'tokenizer'} turns them into pixels. "
        "<b>Good:</b> things can be recognized, hang together, and differ from each other; a patchwork of plausible "
        f"pieces means that the top prior needs more training.{note}",
        body="".join(parts),
    )


def _completions(pictures: Pictures, directory: Path) -> Section:
    parts = []
    for entry in pictures.completions:
        rows = grid_strips(directory, entry, pictures.image_size, largest=_LARGEST_SAMPLE)
        parts.append(f"<h3>{escape(entry.title)}</h3>{rows}" if rows else "")
    return Section(
        key="completions",
        title="Completions",
        lead="Held-out images of which a part is hidden, and drawn anew by the priors a few ways: one column per "
        "image, the first row the original, the second what was given of it. <b>Good:</b> what is drawn continues the "
        "lines and colours of what was given, and the ways differ from each other; a seam means that the priors do "
        "not follow the codes before them.",
        body="".join(parts),
    )
