"""The sections of the page, in order. Each says in a sentence or two what is seen, and what good looks like.

Shapes: N images, C channels, H W pixels, h w code grid of one level, K codebook size of one level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vqvae2.report.curves import codebook_charts, training_charts
from vqvae2.report.data import ReportData
from vqvae2.report.frame import Section
from vqvae2.report.levels import Level, levels_of
from vqvae2.report.pictures import code_picture, columns_that_fit, image_tag, shrink, shrink_factor, shrunk_note, strips
from vqvae2.report.tables import likelihood_table, time_bars, trainings_table
from vqvae2.report.text import (
    TIMES,
    escape,
    folded,
    format_count,
    format_number,
    format_percent,
    format_seconds,
    number,
    settings,
    table,
)

__all__ = ["sections_of"]

_MOST_COLUMNS = 12
# Above these sides, in pixels, images are shown smaller, to keep the page at some megabytes.
_LARGEST_RECONSTRUCTION, _LARGEST_SAMPLE = 256, 128
_SAMPLE_PIXELS = 600_000


def sections_of(data: ReportData) -> list[Section]:
    """Make all sections; those without data have an empty body."""
    levels = levels_of(data)
    return [
        _reconstructions(data),
        _code_maps(data),
        _codebooks(data, levels),
        _training(data),
        _samples(data),
        _completions(data),
        _likelihood(levels),
        _times(data),
        _config(data),
        _next_steps(data),
    ]


def _reconstructions(data: ReportData) -> Section:
    originals = shrink(data.originals, largest=_LARGEST_RECONSTRUCTION)
    columns = columns_that_fit(originals, most=_MOST_COLUMNS) if len(originals) else 0
    rows = [("original", "", originals[:columns])]
    labels = _partial_labels(data)
    for label, images in zip(labels, data.partial_reconstructions, strict=True):
        rows.append((label, _psnr(images, data.originals), shrink(images, largest=_LARGEST_RECONSTRUCTION)[:columns]))
    return Section(
        key="reconstructions",
        title="Reconstructions",
        lead="Each column is one held-out image, which training has not seen: first the original, then what the "
        "decoder makes of its codes. <b>Good:</b> the top level alone gives the rough shape and colours, each "
        "further level adds detail, and the last row is hard to tell from the first."
        + shrunk_note(data.originals, _LARGEST_RECONSTRUCTION),
        body=strips(rows) if columns else "",
        if_empty="There are no held-out images to show.",
    )


def _partial_labels(data: ReportData) -> list[str]:
    count = len(data.partial_reconstructions)
    names = [*data.level_names, *(f"level {level}" for level in range(len(data.level_names), count))]
    if count == 1:
        return ["from its codes"]
    return [
        f"{names[0]} only" if index == 0 else "all levels" if index == count - 1 else f"+ {names[index]}"
        for index in range(count)
    ]


def _psnr(images: np.ndarray, originals: np.ndarray) -> str:
    if (images.shape, images.dtype) != (originals.shape, originals.dtype):
        return ""
    mse = float(np.square(images.astype(np.float64) - originals).mean())
    peak = float(np.iinfo(originals.dtype).max)
    return f"{10.0 * math.log10(peak**2 / mse):.1f} dB" if mse else "exact"


def _code_maps(data: ReportData) -> Section:
    rows: list[tuple[str, str, np.ndarray]] = []
    if len(data.originals) and data.code_maps:
        height, width = data.originals.shape[1:3]
        columns = columns_that_fit(shrink(data.originals, largest=_LARGEST_RECONSTRUCTION), most=_MOST_COLUMNS)
        rows.append(("original", "", shrink(data.originals[:columns], largest=_LARGEST_RECONSTRUCTION)))
        for name, codes in zip(data.level_names, data.code_maps, strict=False):
            # Large pictures lose every second row and column instead of being averaged: mixed colours mean nothing.
            step = shrink_factor(height, width, largest=_LARGEST_RECONSTRUCTION)
            picture = code_picture(codes[:columns], height=height, width=width)
            picture = picture[:, : height // step * step : step, : width // step * step : step]
            rows.append((name, f"{codes.shape[1]} {TIMES} {codes.shape[2]} codes", picture))
    return Section(
        key="codes",
        title="Code maps",
        lead="This is all that is kept of an image: at each level, a grid of numbers. Here each number has its own "
        "colour, the same everywhere; the colours are arbitrary, so like colours do not mean like codes. "
        "<b>Good:</b> plain areas repeat a few codes, and outlines of the image can be made out.",
        body=strips(rows) if rows else "",
        if_empty="There are no code maps to show.",
    )


def _codebooks(data: ReportData, levels: list[Level]) -> Section:
    rows = [
        [
            escape(level.name),
            format_count(level.num_embeddings),
            format_percent(level.usage),
            format_number(level.perplexity),
        ]
        for level in levels
        if level.usage is not None or level.perplexity is not None
    ]
    overview = table(["level", "codes (K)", "in use", "perplexity"], rows) if rows else ""
    charts = codebook_charts(data)
    return Section(
        key="codebooks",
        title="Codebook usage",
        lead="How often each code occurs in held-out images. Perplexity says how many codes, all equally frequent, "
        "would be as varied. <b>Good:</b> nearly all codes are in use, and the curve falls gently; codes that are "
        "never used are wasted capacity.",
        body=overview + (f'<div class="charts">{charts}</div>' if charts else ""),
        if_empty="No codes were counted.",
    )


def _training(data: ReportData) -> Section:
    main, more = training_charts(data)
    others = folded("More curves", f'<div class="charts">{more}</div>') if more else ""
    return Section(
        key="training",
        title="Training curves",
        lead="Each model's error while it learned. The tokenizer's error is in pixel values from &minus;1 to&nbsp;1; "
        "a prior's is the surprise at each code, in nats, on held-out and on training images, and as its loss, with "
        "dropout. <b>Good:</b> all lines fall and then level off; a validation line that turns up again while the "
        "training line goes on down means that the model is memorizing. The model of the lowest validation point is "
        "kept.",
        body=(f'<div class="charts">{main}</div>' if main else "") + trainings_table(data.results) + others,
        if_empty="There are no logs to draw.",
    )


def _samples(data: ReportData) -> Section:
    shown = {name: shrink(images, largest=_LARGEST_SAMPLE) for name, images in data.samples.items() if len(images)}
    each = _SAMPLE_PIXELS // sum(int(images[0].size // images.shape[3]) for images in shown.values()) if shown else 0
    each = max(each, 2)
    parts = []
    for name, images in shown.items():
        note = f" <small>the first {each} of {len(images)}</small>" if len(images) > each else ""
        heading = "" if name in ("", "all") and len(shown) == 1 else escape(name)
        tags = "".join(
            image_tag(pixels, alt=f"sample {index} {name}".strip()) for index, pixels in enumerate(images[:each], 1)
        )
        parts.append(f"<h3>{heading}{note}</h3>" if heading or note else "")
        parts.append(f'<div class="samples">{tags}</div>')
    original = data.samples[next(iter(shown))] if shown else np.zeros((0, 1, 1, 1))
    return Section(
        key="samples",
        title="Samples",
        lead="New images: the priors draw codes level by level, and the tokenizer turns them into pixels. "
        "<b>Good:</b> things can be recognized, hang together, and differ from each other; a patchwork of plausible "
        "pieces means that the top prior needs more training." + shrunk_note(original, _LARGEST_SAMPLE),
        body="".join(parts),
        if_empty="No images were drawn.",
    )


def _completions(data: ReportData) -> Section:
    parts = []
    for entry in data.completions:
        pictures = [("original", entry.originals), ("given", entry.given)]
        pictures += [(f"variant {number}", images) for number, images in enumerate(entry.variants, start=1)]
        columns = columns_that_fit(shrink(entry.originals, largest=_LARGEST_SAMPLE), most=_MOST_COLUMNS)
        rows = [(label, "", shrink(images[:columns], largest=_LARGEST_SAMPLE)) for label, images in pictures]
        parts.append(f"<h3>{escape(entry.title)}</h3>{strips(rows)}")
    original = data.completions[0].originals if data.completions else np.zeros((0, 1, 1, 1))
    return Section(
        key="completions",
        title="Completions",
        lead="Held-out images of which a part is hidden, and drawn anew by the priors a few ways: a column an image, "
        "the first row the original, the second what was given of it. <b>Good:</b> what is drawn goes on with the "
        "lines and colours of what was given, and the ways differ from each other; a seam means that the priors do "
        "not follow the codes before them." + shrunk_note(original, _LARGEST_SAMPLE),
        body="".join(parts),
        if_empty="No images were completed.",
    )


def _likelihood(levels: list[Level]) -> Section:
    return Section(
        key="likelihood",
        title="Likelihood",
        lead="What one code of a held-out image costs on average: by each prior, and by counts of training codes: how "
        "frequent each is under the code above it, or at all. <b>Good:</b> the prior costs well below all "
        "counts, and the gap is small, which is how much more a code of a held-out image costs than one of a training "
        "image; a large one means that the prior has memorized. These are costs of codes: what the tokenizer loses is "
        "not in them.",
        body=likelihood_table(levels),
        if_empty="No prior was measured.",
    )


def _times(data: ReportData) -> Section:
    given = data.results.get("seconds")
    named = {str(key): number(given, key) for key in given} if isinstance(given, Mapping) else {}
    seconds = {name: value for name, value in named.items() if value is not None and math.isfinite(value)}
    return Section(
        key="times",
        title="Time of each stage",
        lead=f"Where the time went; {format_seconds(sum(seconds.values()))} in all. <b>Good:</b> nearly all of it "
        "is training.",
        body=time_bars(seconds),
        if_empty="No times were recorded.",
    )


def _config(data: ReportData) -> Section:
    parts = []
    for title, values in (
        ("Config", data.config),
        ("Versions", data.results.get("versions")),
        ("Machine", data.results.get("machine")),
    ):
        if values:
            parts.append(folded(title, settings(values)))
    return Section(
        key="config",
        title="Config and versions",
        lead="All that is needed to repeat this run.",
        body="".join(parts),
    )


def _next_steps(data: ReportData) -> Section:
    items = "".join(f"<li><code>{escape(step)}</code></li>" for step in data.next_steps)
    return Section(
        key="next",
        title="Next steps",
        lead="Commands to try now.",
        body=f'<ol class="steps">{items}</ol>' if items else "",
        if_empty="None were given.",
    )
