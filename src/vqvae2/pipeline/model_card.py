"""The model card of a pipeline: what it is, what was measured, and what was not.

Every number stands beside how it was measured, and comes from the files of that measurement. What nobody has measured
or said is named as such.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqvae2.config import DecoderName
from vqvae2.errors import ConfigError
from vqvae2.metrics.results import RESULTS_FILE, Fingerprints, Results
from vqvae2.pipeline.card_results import plain_text, tell_all, tell_sampling
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.folder import (
    CARD_MARK,
    EVALUATION_FOLDERS,
    PIPELINE_FILES,
    SHARP_FOLDER,
    TOKENIZER_FOLDER,
    TUNING_FOLDERS,
    prior_folder,
)
from vqvae2.system.version import __version__

if TYPE_CHECKING:
    from torch import nn

    from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["CardFacts", "model_card"]

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_HEAD = """---
library_name: vqvae2
license: {license}
pipeline_tag: unconditional-image-generation
tags: [vqvae2, vq-vae-2, image-generation, vector-quantization]
---"""
_SHOWN_CLASSES = 30


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the files of a pipeline do not say.

    Raises:
        ConfigError: If `license` is no short name.
    """

    license: str = "unknown"
    """Of the weights, by its short name on the Hub."""
    data_name: str | None = None
    """What the pipeline was trained on, in words."""
    measured: Path | None = None
    """Folder of the run or pipeline with results; None if nothing is to be told."""

    def __post_init__(self) -> None:
        if not _LICENSE.fullmatch(self.license):
            raise ConfigError(f"`license` must be a short name such as 'apache-2.0' or 'mit', got {self.license!r}")


def model_card(pipeline: Pipeline, folder: Path, *, name: str, facts: CardFacts) -> str:
    """Write the card, in Markdown with a YAML head as the Hub reads it.

    Args:
        pipeline: What the card describes.
        folder: Where the files of its parts are, whose sizes are told.
        name: "owner/name", or that of a folder.
        facts: What else is known.

    Raises:
        CheckpointError: If results are there, but damaged or of another format.
    """
    own = {pipeline.fingerprints(decoder) for decoder in pipeline.decoders}
    of_run, *others = (
        _read_results(facts.measured, where, own)
        for where in ("", *TUNING_FOLDERS.values(), *EVALUATION_FOLDERS.values())
    )
    measured: dict[DecoderName, Results] = {}
    for results in (of_run, *others):
        if results is not None:
            earlier = measured.get(results.decoder)
            measured[results.decoder] = results if earlier is None else results.merged_with(earlier)
    sections = [
        _HEAD.format(license=facts.license),
        f"# {plain_text(name)}",
        CARD_MARK,
        *_what_it_is(pipeline),
        "## Data",
        _data(pipeline.config, of_run, facts),
        "## Sizes",
        *_sizes(pipeline, folder),
        "## Measured",
        *tell_all(pipeline, measured),
        *tell_sampling(pipeline, measured),
        "## Use",
        _use(name, pipeline),
    ]
    return "\n\n".join(sections) + "\n"


def _read_results(folder: Path | None, where: str, own: Container[Fingerprints]) -> Results | None:
    """Read the results in a folder, unless they are of other models, perhaps of this run at an earlier time."""
    path = None if folder is None else folder / where / RESULTS_FILE
    if path is None or not path.exists():
        return None
    results = Results.read(path)
    return results if results.pipeline in own else None


def _what_it_is(pipeline: Pipeline) -> list[str]:
    tokenizer, config, priors = pipeline.tokenizer.config, pipeline.config, pipeline.priors
    colours = {1: "grey", 3: "RGB", 4: "RGBA"}.get(tokenizer.in_channels, f"{tokenizer.in_channels}-channel")
    height, width = config.image_size
    families = " and ".join(sorted({prior.config.network.family for prior in priors}))
    generator = (
        f"An autoregressive prior on each level ({families}) draws new images"
        + (" of a given class." if config.classes else ".")
        if priors
        else "It has no priors, so it encodes and decodes images, but draws none."
    )
    default, *others = pipeline.decoders
    on_decoders = [
        "Two decoders turn the same codes into images: `faithful`, the tokenizer's own, of least squared error, and "
        f"`sharp`, which draws details that the codes leave open. The default is `{default}`; for the other one, take "
        f'`pipeline.using("{other}")` in Python, or `--decoder {other}` on the command line.'
        for other in others
    ]
    return [
        "A VQ-VAE-2 ([Razavi et al. 2019](https://arxiv.org/abs/1906.00446)), made with `vqvae2` "
        f"{__version__}. Its tokenizer turns images into {tokenizer.num_levels} "
        f"{'level' if tokenizer.num_levels == 1 else 'levels'} of discrete codes and back. {generator}",
        *on_decoders,
        f"Images: {height}x{width} pixels (height x width), {colours}, {config.bit_depth} bits.",
    ]


def _data(config: PipelineConfig, of_run: Results | None, facts: CardFacts) -> str:
    train = of_run.num_images.train if of_run is not None else sum(config.class_counts)
    lines = [
        f"- Trained on: {plain_text(facts.data_name) if facts.data_name else 'not named'}.",
        f"- Training images: {f'{train:,}' if train else 'not recorded'}.",
        *([f"- Held out: {of_run.num_images.validation:,} images."] if of_run is not None else []),
    ]
    names = [f"`{plain_text(name)}`" for name in config.classes[:_SHOWN_CLASSES]]
    more = len(config.classes) - len(names)
    lines.append(
        f"- Classes: {len(names) + more}: {', '.join(names)}{f' and {more} more' if more else ''}."
        if names
        else "- Classes: none."
    )
    license_note = "not said by whoever made this card" if facts.license == "unknown" else facts.license
    lines.append(f"- Licence of the weights: {license_note}.")
    return "\n".join(lines)


def _sizes(pipeline: Pipeline, folder: Path) -> list[str]:
    tokenizer = pipeline.tokenizer.config
    parts: dict[str, nn.Module] = {TOKENIZER_FOLDER: pipeline.tokenizer}
    if pipeline.sharp_decoder is not None:
        parts[SHARP_FOLDER] = pipeline.sharp_decoder
    parts |= {prior_folder(prior.space.level, tokenizer.num_levels): prior for prior in pipeline.priors}
    rows = ["| part | parameters | bytes |", "|---|---|---|"]
    for name, part in parts.items():
        count = sum(parameter.numel() for parameter in part.parameters())
        file = next(path for path in PIPELINE_FILES if path.startswith(f"{name}/"))
        rows.append(f"| `{name}` | {count:,} | {(folder / file).stat().st_size:,} |")
    shapes = tokenizer.code_shapes(*pipeline.config.image_size)
    codes = [height * width for height, width in shapes]
    bits = sum(count * math.log2(size) for count, size in zip(codes, tokenizer.codebook_sizes, strict=True))
    grids = ", ".join(
        f"{name} {height}x{width}" for name, (height, width) in zip(tokenizer.level_names, shapes, strict=True)
    )
    return [
        "\n".join(rows),
        f"An image is {sum(codes):,} codes ({grids}), each one of {tokenizer.codebook_sizes[0]:,}: "
        f"{bits / math.prod(pipeline.config.image_size):.4g} bits per pixel with as many bits for each code.",
    ]


def _use(name: str, pipeline: Pipeline) -> str:
    height, width = pipeline.config.image_size
    shape = f"4, {pipeline.tokenizer.config.in_channels}, {height}, {width}"
    code = [
        *([] if pipeline.priors else ["import torch"]),
        "from vqvae2 import Pipeline",
        "",
        f"pipeline = Pipeline.from_pretrained({json.dumps(name)})",
        f"images = pipeline.sample(4)  # ({shape}), about [-1, 1]"
        if pipeline.priors
        else f"images = torch.zeros({shape})  # in the place of yours, in [-1, 1]",
        "codes = pipeline.encode(images)",
        "reconstructions = pipeline.reconstruct(images)",
        *(f'{other} = pipeline.using("{other}").reconstruct(images)' for other in pipeline.decoders[1:]),
    ]
    return "\n".join(["```python", *code, "```"])
