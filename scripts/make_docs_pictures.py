#!/usr/bin/env python3
"""Make the pictures of `README.md` and `docs/how-it-works.md`, `docs/images/how-*.png`, with a pipeline.

    python scripts/make_docs_pictures.py [PIPELINE] [--images FOLDER] [--out FOLDER] [--only NAME ...]

The pipeline is `builtin` unless another is given; it needs classes, and a classifier in its folder. The images are
held-out ones of the built-in set, or the first of a folder. The same pipeline gives the same pictures.
"""

import argparse
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vqvae2 import DrawRequest, Hooks, Pipeline, SamplingConfig, mask_below, read_bitstream, sample_accepted
from vqvae2.config import BUILTIN_GROUP_PATTERN, ImageConfig
from vqvae2.data import ImageFolder, ImageSource, evenly_spread, open_images
from vqvae2.data.split import validation_mask
from vqvae2.evaluation.networks import find_classifier
from vqvae2.images import crop_to, decode_image, from_pixels, image_grid, to_pixels, to_rgb
from vqvae2.pipeline.hub import find_pipeline_folder
from vqvae2.pipeline.sample_streams import DrawnSample
from vqvae2.report.pictures import code_picture
from vqvae2.sampling.completion import hide_pixels
from vqvae2.sampling.hooks import DrawnFront
from vqvae2.studio.walk_view import view_front

ROOT = Path(__file__).parent.parent
SEED = 0
TEAL, ORANGE, GREY = "#00897b", "#e4572e", "#b0bec5"


@dataclass(frozen=True)
class Subject:
    """What the pictures are of."""

    pipeline: Pipeline
    folder: Path
    """Of the pipeline."""
    images: Tensor
    """`(B, C, H, W)` in [-1, 1], which the pipeline was not trained on."""

    @property
    def level_names(self) -> tuple[str, ...]:
        return self.pipeline.tokenizer.config.level_names

    def pixels(self, images: Tensor) -> np.ndarray:
        """Turn images `(B, C, H, W)` into uint8 `(B, H, W, 3)`."""
        return to_pixels(to_rgb(images)).cpu().numpy()

    def maps(self, codes: Tensor) -> np.ndarray:
        """Paint the codes of a level `(B, h, w)`: uint8 `(B, H, W, 3)`."""
        height, width = self.pipeline.config.image_size
        return code_picture(codes.cpu().numpy(), height=height, width=width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", nargs="?", default="builtin")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", nargs="*", choices=PICTURES, default=list(PICTURES))
    arguments = parser.parse_args()
    pipeline = Pipeline.from_pretrained(arguments.pipeline)
    subject = Subject(pipeline, find_pipeline_folder(arguments.pipeline), read_images(pipeline, arguments.images))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        path = arguments.out / f"how-{name}.png"
        PICTURES[name](subject).savefig(path, dpi=100, metadata={"Software": None})
        print(path)


def read_images(pipeline: Pipeline, folder: Path | None, *, most: int = 6) -> Tensor:
    """Read images that are spread over a set: `(B, C, H, W)`."""
    if folder is None:
        source: ImageSource = open_images("builtin:")
        held_out = validation_mask(source.names, ImageConfig(group_pattern=BUILTIN_GROUP_PATTERN))
        indices = np.flatnonzero(held_out)
    else:
        source = ImageFolder(folder)
        indices = np.arange(len(source))
    # The middle of each of equal parts, since a set's first and last are often the odd ones.
    chosen = indices[((np.arange(most) + 0.5) * len(indices) / most).astype(int)]
    channels = pipeline.tokenizer.config.in_channels
    bits, size = pipeline.config.bit_depth, pipeline.config.image_size
    pixels = [decode_image(source.read(int(i)), channels=channels, bit_depth=bits, size=size) for i in chosen]
    return from_pixels(torch.from_numpy(np.stack(pixels)))


def levels(subject: Subject) -> Figure:
    """Show images, their codes at each level, and what is decoded from the levels down to there."""
    pipeline, images = subject.pipeline, subject.images
    codes = pipeline.encode(images)
    rows = [("image", subject.pixels(images))]
    for level, name in enumerate(subject.level_names):
        height, width = codes.shapes[level]
        decoded = crop_to(pipeline.decode(codes, levels=level + 1), *images.shape[-2:])
        rows.append((f"{name}: {height} x {width} codes", subject.maps(codes[level])))
        rows.append((f"from {' + '.join(subject.level_names[: level + 1])}", subject.pixels(decoded)))
    return picture_rows(rows)


def quantizer(_: Subject) -> Figure:
    """Show how features become codes, in two dimensions."""
    random = np.random.default_rng(3)
    centres = np.array([[-1.6, 0.9], [-0.4, -0.9], [0.7, 0.9], [1.7, -0.4]])
    features = np.concatenate([centre + 0.28 * random.standard_normal((40, 2)) for centre in centres])
    lucky = np.array([[0.5, 0.0], [2.7, 2.2], [3.2, 2.0], [3.6, 1.6]])
    figure = Figure(figsize=(9.6, 3.1), layout="constrained")
    titles = ("each feature takes the nearest code", "one code wins all, the others are dead", "dead codes start anew")
    for axes, title, codebook in zip(figure.subplots(1, 3), titles, (centres, lucky, centres), strict=True):
        nearest = np.square(features[:, None] - codebook[None]).sum(axis=2).argmin(axis=1)
        used = np.bincount(nearest, minlength=len(codebook)) > 0
        if codebook is centres:
            for feature, code in zip(features, codebook[nearest], strict=True):
                axes.plot(*zip(feature, code, strict=True), color=GREY, linewidth=0.6, zorder=1)
        if title.startswith("dead"):
            for start, end in zip(lucky[1:], centres[[0, 2, 3]], strict=True):
                axes.scatter(*start, s=90, marker="s", facecolor="white", edgecolor=GREY, zorder=3)
                arrow = {"arrowstyle": "-|>", "color": ORANGE, "shrinkA": 7, "shrinkB": 7}
                axes.annotate("", end, start, arrowprops=arrow)
        axes.scatter(*features.T, s=7, color=TEAL, alpha=0.6, zorder=2)
        axes.scatter(*codebook[used].T, s=90, marker="s", color="black", zorder=3)
        axes.scatter(*codebook[~used].T, s=90, marker="s", facecolor="white", edgecolor="black", zorder=3)
        axes.set(title=title, xlim=(-2.6, 3.9), ylim=(-2.0, 2.5), xticks=[], yticks=[])
        axes.title.set_fontsize(10)
    return figure


def collapse(_: Subject) -> Figure:
    """Show the measured usage of codebooks with and without revival."""
    measured = json.loads((ROOT / "docs" / "measurements" / "collapse.json").read_text())
    sets = [name.removesuffix(", as it is") for name in measured if name.endswith(", as it is")]
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    for axes, (level, name) in zip(figure.subplots(1, 2), enumerate(("top", "bottom")), strict=True):
        for row, (condition, color, label) in enumerate(
            (("as it is", TEAL, "dead codes start anew"), ("no revival", ORANGE, "they do not"))
        ):
            shares = [100 * measured[f"{entry}, {condition}"][f"usage_{level}"] for entry in sets]
            bars = axes.barh(np.arange(len(sets)) + 0.4 * row - 0.2, shares, 0.38, color=color, label=label)
            axes.bar_label(bars, fmt="%.1f %%", fontsize=7, padding=2)
        axes.set(title=f"{name}: codes in use, %", xlim=(0, 118), yticks=range(len(sets)))
        axes.set_yticklabels([f"{entry} codes" for entry in sets] if level == 0 else [], fontsize=8)
        axes.invert_yaxis()
        plain(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def walk(subject: Subject) -> Figure:
    """Show images in the middle of being drawn, after a quarter, a half, three quarters and all codes of each level."""
    pipeline, columns = subject.pipeline, list[tuple[str, np.ndarray]]()
    num_before = 0  # codes of the level before the newest front

    def keep(front: DrawnFront) -> None:
        nonlocal num_before
        (height, width), count = front.codes.shapes[front.level], len(front.positions)
        total, newest, num_before = height * width, front.positions[num_before:], count % (height * width)
        if 4 * count // total == 4 * (count - len(newest)) // total:
            return
        drawn = subject.pixels(view_front(pipeline, front))
        side = pipeline.tokenizer.config.reductions[front.level]
        for row, column in (divmod(position, width) for position in newest.tolist() if count < total):
            drawn[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = (228, 87, 46)
        columns.append((f"{subject.level_names[front.level]} {count}/{total}", drawn))

    pipeline.sample(4, DrawRequest(seed=SEED), hooks=Hooks(on_front=keep))
    return picture_columns(columns)


def samples(subject: Subject) -> Figure:
    """Show the first 64 samples of all classes in turn."""
    labels = torch.arange(64) * 7 % len(subject.pipeline.config.classes)
    pictures = subject.pixels(subject.pipeline.sample(64, DrawRequest(seed=SEED, label=labels)))
    grid = image_grid(pictures, columns=16, gap_pixels=4)
    figure = Figure(figsize=(grid.shape[1] / 50, grid.shape[0] / 50))  # two pixels for each
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(grid, interpolation="nearest")
    axes.axis("off")
    return figure


def failures(subject: Subject) -> Figure:
    """Show the eight of 400 samples whose class the classifier finds least likely."""
    classifier = find_classifier(subject.folder / "classifier", subject.pipeline)
    drawn = sample_accepted(subject.pipeline, classifier, 400, DrawRequest(seed=SEED), acceptance_rate=1.0)
    worst = sorted(drawn, key=lambda sample: sample.score)[:8]
    names = [subject.pipeline.config.classes[sample.label] for sample in worst]
    return picture_columns([(name, sample.pixels.numpy()[None]) for name, sample in zip(names, worst, strict=True)])


def classes(subject: Subject) -> Figure:
    """Show samples of at most nine classes."""
    names, each = subject.pipeline.config.classes, 10
    chosen = evenly_spread(np.arange(len(names)), most=9)
    labels = torch.from_numpy(chosen).repeat_interleave(each)
    pictures = subject.pixels(subject.pipeline.sample(len(labels), DrawRequest(seed=SEED, label=labels)))
    return picture_rows([(names[label], pictures[each * row : each * (row + 1)]) for row, label in enumerate(chosen)])


def temperature(subject: Subject) -> Figure:
    """Show the same seeds at several temperatures."""
    return dial(subject, [(f"{value:g}", SamplingConfig(temperature=(value,))) for value in (0.4, 0.7, 1.0, 1.3)])


def guidance(subject: Subject) -> Figure:
    """Show the same seeds at several guidance scales."""
    return dial(subject, [(f"{value:g}", SamplingConfig(guidance_scale=value)) for value in (1.0, 1.5, 2.5, 4.0)])


def dial(subject: Subject, settings: Sequence[tuple[str, SamplingConfig]]) -> Figure:
    """Draw images of the same numbers and classes in several ways, a row each."""
    labels = torch.arange(10) % len(subject.pipeline.config.classes)
    rows = []
    for name, config in settings:
        request = DrawRequest(seed=SEED, label=labels, sampling=config)
        rows.append((name, subject.pixels(subject.pipeline.sample(len(labels), request))))
    return picture_rows(rows)


def rejection(subject: Subject) -> Figure:
    """Show what is kept of samples of all classes at several acceptance rates."""
    classifier = find_classifier(subject.folder / "classifier", subject.pipeline)
    rows = []
    for rate in (1.0, 0.5, 0.2, 0.05):
        kept: dict[int, DrawnSample] = {}
        for sample in sample_accepted(subject.pipeline, classifier, 12, DrawRequest(seed=SEED), acceptance_rate=rate):
            kept[sample.number] = sample
            kept.pop(-1 if sample.displaced is None else sample.displaced, None)
        best = sorted(kept.values(), key=lambda sample: (sample.label, sample.number))
        pixels = np.stack([sample.pixels.numpy() for sample in best])
        rows.append((f"{rate:g}", subject.pixels(from_pixels(torch.from_numpy(pixels)))))
    return picture_rows(rows)


def completion(subject: Subject) -> Figure:
    """Show images whose lower half is drawn anew, and then all of their lower levels."""
    pipeline, images = subject.pipeline, subject.images
    mask = mask_below(pipeline.config.image_size, 0.5)
    lower = pipeline.complete(images, mask, DrawRequest(seed=SEED, num_variants=3))
    rows = [("image", images), ("given: upper half", hide_pixels(images, mask))]
    rows += [(f"completed, {number}", variant) for number, variant in enumerate(lower.unbind(1), 1)]
    if len(subject.level_names) > 1:
        varied = pipeline.vary(images, DrawRequest(seed=SEED, num_variants=2))
        rows += [("given: top level", pipeline.reconstruct(images, levels=1))]
        rows += [(f"varied, {number}", variant) for number, variant in enumerate(varied.unbind(1), 1)]
    return picture_rows([(name, subject.pixels(row)) for name, row in rows])


def file(subject: Subject) -> Figure:
    """Show what the bytes of one file are for, coded and raw, beside the pixels."""
    image = subject.images[0]
    size = image.numel() * subject.pipeline.config.bit_depth // 8
    bars: list[tuple[str, list[tuple[str, int]]]] = []
    for mode, title in (("raw", "codes of fixed width"), ("prior", "codes by the priors")):
        data = subject.pipeline.compress(image, mode=mode)
        payloads = [len(payload) for payload in read_bitstream(io.BytesIO(data)).payloads]
        parts = list(zip(subject.level_names, payloads, strict=True))
        bars.append((title, [*parts, ("rest", len(data) - sum(payloads))]))
    figure = Figure(figsize=(9.6, 2.2), layout="constrained")
    axes = figure.subplots()
    shades = [TEAL, "#4db6ac", "#80cbc4", "#b2dfdb"]
    for row, (_title, parts) in enumerate(bars):
        left = 0
        for index, (name, count) in enumerate(parts):
            color = GREY if name == "rest" else shades[min(index, len(shades) - 1)]
            axes.barh(row, count, left=left, color=color, edgecolor="white", height=0.6)
            axes.text(left + count / 2, row, f"{name}\n{count}", ha="center", va="center", fontsize=8)
            left += count
        axes.text(left, row, f"  {left} bytes", va="center", fontsize=9)
    axes.set(yticks=range(len(bars)), xlabel=f"bytes; the pixels of this image are {size:,}")
    axes.set_yticklabels([title for title, _ in bars])
    axes.set_xlim(0, 1.15 * axes.dataLim.x1)
    axes.invert_yaxis()
    plain(axes)
    return figure


def plain(axes: Axes) -> None:
    """Leave only the axis of the values."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def picture_rows(rows: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Lay named rows of pictures, uint8 `(N, H, W, 3)` each, under each other."""
    return strips(rows, are_rows=True)


def picture_columns(columns: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Lay named columns of pictures, uint8 `(N, H, W, 3)` each, beside each other."""
    return strips(columns, are_rows=False)


def strips(named: Sequence[tuple[str, np.ndarray]], *, are_rows: bool) -> Figure:
    """Join pictures into one, with a gap between, and the names at its left or above."""
    pixels = np.stack([pictures for _, pictures in named])  # (names, N, H, W, 3)
    cells = pixels if are_rows else pixels.swapaxes(0, 1)
    gap = max(2, cells.shape[2] // 16)
    height, width = cells.shape[2] + gap, cells.shape[3] + gap
    joined = image_grid(cells.reshape(-1, *cells.shape[2:]), columns=cells.shape[1], gap_pixels=gap)
    joined = joined[gap:-gap, gap:-gap]
    margin = 1.6 if are_rows else 0.0
    inch = (9.6 - margin) / joined.shape[1]
    total = joined.shape[0] * inch + (0.0 if are_rows else 0.3)
    figure = Figure(figsize=(9.6, total))
    axes = figure.add_axes((margin / 9.6, 0.0, 1.0 - margin / 9.6, joined.shape[0] * inch / total))
    axes.imshow(joined, interpolation="nearest", aspect="auto")
    axes.axis("off")
    for index, (name, _) in enumerate(named):
        if are_rows:
            axes.text(-gap, index * height + (height - gap) / 2, name, ha="right", va="center", fontsize=9)
        else:
            axes.text(index * width + (width - gap) / 2, -gap, name, ha="center", va="bottom", fontsize=9)
    return figure


PICTURES: dict[str, Callable[[Subject], Figure]] = {
    "levels": levels,
    "quantizer": quantizer,
    "collapse": collapse,
    "walk": walk,
    "samples": samples,
    "failures": failures,
    "classes": classes,
    "temperature": temperature,
    "guidance": guidance,
    "rejection": rejection,
    "completion": completion,
    "file": file,
}


if __name__ == "__main__":
    main()
