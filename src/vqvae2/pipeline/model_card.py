"""The model card of a pipeline: what it is, what was measured, and what was not.

Every number stands beside how it was measured, and comes from the files of that measurement. What nobody has measured
or said is named as such.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqvae2.config import VQVAE2Config
from vqvae2.errors import ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.card_results import CARD_METRICS, number_in, plain_text, read_results, tell_results
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.folder import CARD_MARK, PIPELINE_FILES, TOKENIZER_FOLDER, prior_folder
from vqvae2.system.version import __version__

__all__ = ["CardFacts", "model_card"]

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
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


def model_card(
    tokenizer: VQVAE2,
    config: PipelineConfig,
    priors: Sequence[Prior],
    folder: Path,
    *,
    name: str,
    facts: CardFacts,
) -> str:
    """Write the card, in Markdown with a YAML head as the Hub reads it.

    Args:
        tokenizer: The parts.
        config: As above.
        priors: As above.
        folder: Where their files are, whose sizes are told.
        name: "owner/name", or that of a folder.
        facts: What else is known.

    Raises:
        CheckpointError: If results are there, but damaged.
    """
    results, evaluation = _read_measured(tokenizer, priors, facts.measured)
    told = tell_results(results, evaluation)
    missing = [metric for metric in CARD_METRICS if metric not in told]
    sections = [
        *_head(facts),
        f"# {plain_text(name)}",
        CARD_MARK,
        *_what_it_is(tokenizer.config, config, priors),
        "## Data",
        *_data(config, results, facts),
        "## Sizes",
        *_sizes(tokenizer, config, priors, folder),
        "## Measured",
        *told.values(),
        *([f"Not measured, or not told here: {', '.join(missing)}."] if missing else []),
        "## Use",
        *_use(name, tokenizer.config, config, priors),
    ]
    return "\n\n".join(sections) + "\n"


def _read_measured(
    tokenizer: VQVAE2, priors: Sequence[Prior], folder: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the results of the run and of the evaluation in a folder."""
    if folder is None:
        return {}, {}
    evaluation = read_results(folder / "evaluation" / "results.json")
    own = {"tokenizer": fingerprint(tokenizer), "priors": [fingerprint(prior) for prior in priors]}
    # An evaluation of other models, perhaps of this run at an earlier time, says nothing of these.
    return read_results(folder / "results.json"), evaluation if evaluation.get("pipeline") == own else {}


def _head(facts: CardFacts) -> list[str]:
    """Give the YAML head, which begins the file."""
    lines = [
        "---",
        "library_name: vqvae2",
        f"license: {facts.license}",
        "pipeline_tag: unconditional-image-generation",
        "tags:",
        *(f"- {tag}" for tag in ("vqvae2", "vq-vae-2", "image-generation", "vector-quantization")),
        "---",
    ]
    return ["\n".join(lines)]


def _what_it_is(tokenizer: VQVAE2Config, config: PipelineConfig, priors: Sequence[Prior]) -> list[str]:
    colours = {1: "grey", 3: "RGB", 4: "RGBA"}.get(tokenizer.in_channels, f"{tokenizer.in_channels}-channel")
    height, width = config.image_size
    families = " and ".join(sorted({prior.config.network.family for prior in priors}))
    generator = (
        f"An autoregressive prior on each level ({families}) draws new images"
        + (" of a given class." if config.classes else ".")
        if priors
        else "It has no priors, so it encodes and decodes images, but draws none."
    )
    return [
        "A VQ-VAE-2 ([Razavi et al. 2019](https://arxiv.org/abs/1906.00446)), made with `vqvae2` "
        f"{__version__}. Its tokenizer turns images into {tokenizer.num_levels} "
        f"{'level' if tokenizer.num_levels == 1 else 'levels'} of discrete codes and back. {generator}",
        f"Images: {height}x{width} pixels (height x width), {colours}, {config.bit_depth} bits.",
    ]


def _data(config: PipelineConfig, results: dict[str, Any], facts: CardFacts) -> list[str]:
    lines = [f"- Trained on: {plain_text(facts.data_name) if facts.data_name else 'not named'}."]
    train, held_out = (number_in(results, "num_images", side) for side in ("train", "validation"))
    if train is None and config.classes:
        train = float(sum(config.class_counts))
    lines.append(f"- Training images: {'not recorded' if train is None else f'{train:,.0f}'}.")
    if held_out is not None:
        lines.append(f"- Held out: {held_out:,.0f} images.")
    names = [f"`{plain_text(name)}`" for name in config.classes[:_SHOWN_CLASSES]]
    more = len(config.classes) - len(names)
    lines.append(
        f"- Classes: {len(names) + more}: {', '.join(names)}{f' and {more} more' if more else ''}."
        if names
        else "- Classes: none."
    )
    license_note = "not said by whoever made this card" if facts.license == "unknown" else facts.license
    lines.append(f"- Licence of the weights: {license_note}.")
    return ["\n".join(lines)]


def _sizes(tokenizer: VQVAE2, config: PipelineConfig, priors: Sequence[Prior], folder: Path) -> list[str]:
    num_levels = tokenizer.config.num_levels
    parts = [(TOKENIZER_FOLDER, tokenizer), *((prior_folder(prior.space.level, num_levels), prior) for prior in priors)]
    rows = ["| part | parameters | bytes |", "|---|---|---|"]
    for name, part in parts:
        count = sum(parameter.numel() for parameter in part.parameters())
        file = next(path for path in PIPELINE_FILES if path.startswith(f"{name}/"))
        rows.append(f"| `{name}` | {count:,} | {(folder / file).stat().st_size:,} |")
    shapes = tokenizer.config.code_shapes(*config.image_size)
    codes = [height * width for height, width in shapes]
    bits = sum(count * math.log2(size) for count, size in zip(codes, tokenizer.config.codebook_sizes, strict=True))
    grids = ", ".join(
        f"{name} {height}x{width}" for name, (height, width) in zip(tokenizer.config.level_names, shapes, strict=True)
    )
    return [
        "\n".join(rows),
        f"An image is {sum(codes):,} codes ({grids}), each one of {tokenizer.config.codebook_sizes[0]:,}: "
        f"{bits / math.prod(config.image_size):.4g} bits per pixel with as many bits for each code.",
    ]


def _use(name: str, tokenizer: VQVAE2Config, config: PipelineConfig, priors: Sequence[Prior]) -> list[str]:
    shape = f"4, {tokenizer.in_channels}, {config.image_size[0]}, {config.image_size[1]}"
    code = [
        *([] if priors else ["import torch"]),
        "from vqvae2 import Pipeline",
        "",
        f"pipeline = Pipeline.from_pretrained({json.dumps(name)})",
        f"images = pipeline.sample(4)  # ({shape}), about [-1, 1]"
        if priors
        else f"images = torch.zeros({shape})  # in the place of yours, in [-1, 1]",
        "codes = pipeline.encode(images)",
        "reconstructions = pipeline.reconstruct(images)",
    ]
    return ["\n".join(["```python", *code, "```"])]
