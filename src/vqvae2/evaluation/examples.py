"""What a run shows, as pictures beside its results: held-out images reconstructed, samples, and completions.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch

from vqvae2.data import CodeStore
from vqvae2.evaluation.bench import Bench
from vqvae2.images import crop_to, from_pixels, to_pixels
from vqvae2.metrics.results import SampleSheet, Strips
from vqvae2.sampling.completion import hide_pixels, mask_below
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest

__all__ = ["Stage", "draw_completions", "draw_reconstructions", "draw_samples"]

Stage = Callable[[str, str], AbstractContextManager[None]]
"""Announces a stage by name and note, and keeps its time."""

_SHOWN_IMAGES = 12
_COMPLETED_IMAGES, _NUM_VARIANTS = 6, 3
_MOST_CLASSES = 20


def draw_reconstructions(bench: Bench, codes: CodeStore) -> Strips:
    """Draw a few held-out images, and under each what is decoded from ever more levels of its codes.

    The last rows are of all levels, one by each decoder; those above are by the default one.
    """
    pipeline, images = bench.subject.pipeline, bench.subject.images
    shown = _spread(images.indices("validation"), _SHOWN_IMAGES)
    originals, shown_codes = images.read(shown), codes.batch(shown)
    names = pipeline.tokenizer.config.level_names
    labels = [f"{names[0]} only", *(f"+ {name}" for name in names[1:-1]), "all levels"]
    pictures, rows = [originals], [("original", "")]
    for levels, label in enumerate(labels if len(names) > 1 else ["from its codes"], start=1):
        by_each = levels == len(names) and len(pipeline.decoders) > 1
        for decoder in sorted(pipeline.decoders) if by_each else [None]:
            decoded = crop_to(pipeline.decode(shown_codes, levels=levels, decoder=decoder), *images.size)
            pictures.append(_to_pixels(bench, decoded))
            rows.append((f"{label}, {decoder}" if by_each else label, _psnr(pictures[-1], originals)))
    file = bench.save_picture("reconstructions.png", np.concatenate(pictures), columns=len(shown))
    return Strips(file=file, title="", rows=tuple(rows), images=tuple(shown.tolist()))


def draw_samples(bench: Bench, num_images: int) -> tuple[SampleSheet, ...]:
    """Draw so many samples in all, as many of each class but at least one, one picture per class.

    Of very many classes, an even choice is drawn.
    """
    pipeline = bench.subject.pipeline
    names = pipeline.config.classes or ("",)
    classes = np.unique(np.linspace(0, len(names) - 1, _MOST_CLASSES).astype(int)).tolist()
    each = max(1, num_images // len(classes))
    hooks = Hooks.for_listener(bench.listener)
    sheets = []
    for position, label in enumerate(classes):
        before = position * each
        request = DrawRequest(first_image=before, label=label if pipeline.config.classes else None)
        drawn = pipeline.sample(
            each, request, hooks=hooks.of_batch(before=before, num_images=each, total_images=len(classes) * each)
        )
        columns = math.ceil(math.sqrt(each))
        file = bench.save_picture(f"samples/{label:03d}.png", _to_pixels(bench, drawn), columns=columns)
        sheets.append(SampleSheet(file=file, class_name=names[label], num_images=each))
    return tuple(sheets)


def draw_completions(bench: Bench, stage: Stage) -> tuple[Strips, ...]:
    """Draw a part of a few held-out images anew, several ways: the lower half, and the levels below the top if any."""
    pipeline, images = bench.subject.pipeline, bench.subject.images
    originals = images.read(_spread(images.indices("validation"), _COMPLETED_IMAGES))
    batch, note = from_pixels(torch.from_numpy(originals)), f"{len(originals)} validation images"
    mask = mask_below(images.size, 0.5)
    request, hooks = DrawRequest(num_variants=_NUM_VARIANTS), Hooks.for_listener(bench.listener)
    pictures: list[np.ndarray] = []
    strips = []

    def add(title: str, given: torch.Tensor, variants: torch.Tensor) -> None:
        labels = ["original", "given", *(f"variant {number}" for number in range(1, _NUM_VARIANTS + 1))]
        rows = tuple((label, "") for label in labels)
        strips.append(Strips(file="completions.png", title=title, rows=rows, first_row=len(pictures)))
        pictures.extend([originals, *(_to_pixels(bench, part) for part in (given, *variants.unbind(1)))])

    with stage("complete", note):
        drawn = pipeline.complete(batch, mask, request, hooks=hooks)
        add("The lower half is hidden", hide_pixels(batch, mask), drawn)
    if pipeline.tokenizer.config.num_levels > 1:
        with stage("vary", note):
            drawn = pipeline.vary(batch, request, hooks=hooks)
            add("All levels below the top are hidden", pipeline.reconstruct(batch, levels=1), drawn)
    bench.save_picture("completions.png", np.concatenate(pictures), columns=len(originals))
    return tuple(strips)


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    """Take at most so many of the numbers, evenly from the first to the last."""
    return indices[np.linspace(0, len(indices) - 1, min(most, len(indices))).astype(int)]


def _to_pixels(bench: Bench, images: torch.Tensor) -> np.ndarray:
    """Turn images `(B, C, H, W)` into pixels `(B, H, W, C)` of the pipeline's bit depth."""
    return to_pixels(images, bit_depth=bench.subject.pipeline.config.bit_depth).cpu().numpy()


def _psnr(images: np.ndarray, originals: np.ndarray) -> str:
    mse = float(np.square(images.astype(np.float64) - originals).mean())
    peak = float(np.iinfo(originals.dtype).max)
    return f"{10.0 * math.log10(peak**2 / mse):.1f} dB" if mse else "exact"
