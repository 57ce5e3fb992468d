"""The sets of images over which codes are looked at: held-out ones of the built-in set, or of a run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqvae2.config import ImageConfig
from vqvae2.data import BUILTIN_GROUP_PATTERN, BuiltinImages, ImageStore, evenly_spread, validation_mask
from vqvae2.errors import DataError
from vqvae2.images import decode_image, from_pixels
from vqvae2.pipeline.folder import RUN_FILE
from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["BUILTIN_SET", "find_image_sets", "find_runs", "held_out_images"]

BUILTIN_SET = "held-out built-in emoji"

_MOST_RUNS = 200
_MOST_IMAGES = 256
_MOST_PIXELS = 2**21  # of a whole set: it is encoded in a few seconds


def find_image_sets(pipeline: Pipeline, source: str, runs_folder: Path) -> dict[str, Callable[[], Tensor]]:
    """Name the sets that fit a pipeline, that of its own run first, then the built-in one; each is read when called.

    Args:
        pipeline: Whose image size, channels and bit depth a run's images must have. The built-in ones are given them.
        source: The pipeline as the user named it.
        runs_folder: Where runs are looked for.

    Returns:
        Functions that give images `(N, C, H, W)` in [-1, 1], not more than are encoded in a few seconds.
    """
    sets: dict[str, Callable[[], Tensor]] = {}

    def add(name: str, directory: Path) -> None:
        try:
            held_out_images(directory, pipeline, most=1)
        except DataError:  # it has no images yet, streams them, or has others than the pipeline's
            return
        sets[f"held-out images of {name}"] = functools.partial(held_out_images, directory, pipeline)

    if (Path(source) / "images").is_dir():
        add("the pipeline's run", Path(source))
    sets[BUILTIN_SET] = functools.partial(_builtin_images, pipeline)
    for name in find_runs(runs_folder):
        add(name, runs_folder / name)
    return sets


def find_runs(folder: Path) -> list[str]:
    """Name the runs in a folder, and "." if it is one itself, those that changed last first."""
    try:
        candidates = [".", *(path.name for path in folder.iterdir() if not path.name.startswith("."))]
        found = [(name, (folder / name / RUN_FILE)) for name in candidates if (folder / name / RUN_FILE).is_file()]
        found.sort(key=lambda entry: entry[1].stat().st_mtime_ns, reverse=True)
    except OSError:  # the folder is not there, or a run went away in this moment
        return []
    return [name for name, _ in found[:_MOST_RUNS]]


def held_out_images(directory: Path, pipeline: Pipeline, *, most: int | None = None) -> Tensor:
    """Read held-out images of a run, evenly spread: `(N, C, H, W)` in [-1, 1].

    Args:
        directory: Of the run.
        pipeline: Whose images they must be like.
        most: How many at most; None for as many as are encoded in a few seconds.

    Raises:
        DataError: If the run has no decoded images, or other ones than the pipeline's.
    """
    images = ImageStore.open(directory / "images")
    config = pipeline.config
    found = (images.size, images.channels, images.bit_depth)
    wanted = (config.image_size, pipeline.tokenizer.config.in_channels, config.bit_depth)
    if found != wanted:
        raise DataError(
            f"the images of {directory} must have size, channels and bit depth of the pipeline, {wanted}, but have "
            f"{found}; take another set"
        )
    chosen = evenly_spread(images.indices("validation"), most=most or _most_images(pipeline))
    return from_pixels(torch.from_numpy(images.read(chosen)))


def _builtin_images(pipeline: Pipeline) -> Tensor:
    source, config = BuiltinImages(), pipeline.config
    is_held_out = validation_mask(
        source.names, fraction=ImageConfig().validation_fraction, group_pattern=BUILTIN_GROUP_PATTERN
    )
    chosen = evenly_spread(np.flatnonzero(is_held_out), most=_most_images(pipeline))
    pixels = [
        decode_image(
            source[int(index)].data,
            channels=pipeline.tokenizer.config.in_channels,
            size=config.image_size,
            bit_depth=config.bit_depth,
        )
        for index in chosen
    ]
    return from_pixels(torch.from_numpy(np.stack(pixels)))


def _most_images(pipeline: Pipeline) -> int:
    height, width = pipeline.config.image_size
    return min(_MOST_IMAGES, max(1, _MOST_PIXELS // (height * width)))
