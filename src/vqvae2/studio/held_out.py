"""Held-out images to look at: a run's own, or else built-in ones.

Shapes: N images, C channels, H x W pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqvae2.config import BUILTIN_GROUP_PATTERN, ImageConfig
from vqvae2.data import BuiltinImages, Images, ImageStore, evenly_spread, open_prepared, validation_mask
from vqvae2.errors import DataError
from vqvae2.images import decode_image, from_pixels
from vqvae2.pipeline.folder import RUN_FILE
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.context import StudioContext
from vqvae2.studio.uploads import GivenImage

__all__ = ["BUILTIN_SET", "find_examples", "find_image_sets", "find_runs", "read_held_out"]

BUILTIN_SET = "held-out built-in heads"

_NUM_EXAMPLES = 8
_MOST_RUNS = 200
_MOST_IMAGES = 256
_MOST_PIXELS = 2**21  # of a whole set, which then takes seconds to encode


def find_examples(folder: Path, pipeline: Pipeline) -> tuple[GivenImage, ...]:
    """Find some held-out images that fit a pipeline, spread over its run or over the built-in set.

    Args:
        folder: The pipeline's. Its images are used if it is a run that still has them.
        pipeline: Its image size, channels and bit depth apply.
    """
    try:
        images = open_prepared(folder / "images")
        chosen = evenly_spread(images.indices("validation"), most=_NUM_EXAMPLES)
        names = [Path(images.names[index]).stem for index in chosen]
        if names:
            return _named(read_held_out(images, pipeline, most=_NUM_EXAMPLES), names)
    except DataError:  # there are none, they no longer fit, or they cannot be read
        pass
    source = BuiltinImages()
    indices = evenly_spread(_held_out_indices(source), most=_NUM_EXAMPLES)
    names = [source.classes[int(source.labels[index])].replace("-", " ") for index in indices]
    return _named(_decode_builtin(source, indices, pipeline), names)


def find_image_sets(context: StudioContext) -> dict[str, Callable[[], Tensor]]:
    """Find sets of held-out images that fit the pipeline: its own run's, the built-in set, and those of other runs.

    A run's images must have the pipeline's image size, channels and bit depth; built-in ones are converted.

    Returns:
        For each name a function that reads images `(N, C, H, W)` in [-1, 1], few enough to be encoded in seconds.
    """
    pipeline = context.pipeline
    height, width = pipeline.config.image_size
    most = min(_MOST_IMAGES, max(1, _MOST_PIXELS // (height * width)))
    sets: dict[str, Callable[[], Tensor]] = {}

    def read_run(directory: Path, most: int) -> Tensor:
        # Not `open_prepared`: reading streamed images may note broken ones in the run's folder.
        return read_held_out(ImageStore.open(directory / "images"), pipeline, most=most)

    def add(name: str, directory: Path) -> None:
        try:
            read_run(directory, 1)
        except DataError:
            return
        sets[f"held-out images of {name}"] = functools.partial(read_run, directory, most)

    def read_builtin() -> Tensor:
        builtin = BuiltinImages()
        return _decode_builtin(builtin, evenly_spread(_held_out_indices(builtin), most=most), pipeline)

    add("the pipeline's run", Path(context.source))
    sets[BUILTIN_SET] = read_builtin
    for name in find_runs(context.runs_folder):
        add(name, context.runs_folder / name)
    return sets


def find_runs(folder: Path) -> list[str]:
    """Name the runs in a folder, and "." if it is one itself; the last changed comes first."""
    try:
        names = [".", *(path.name for path in folder.iterdir() if not path.name.startswith("."))]
        found = [name for name in names if (folder / name / RUN_FILE).is_file()]
        found.sort(key=lambda name: (folder / name / RUN_FILE).stat().st_mtime_ns, reverse=True)
    except OSError:  # the folder does not exist, or a run has just been removed
        return []
    return found[:_MOST_RUNS]


def read_held_out(images: Images, pipeline: Pipeline, *, most: int) -> Tensor:
    """Read at most this many held-out images of a run, evenly spread: `(N, C, H, W)` in [-1, 1].

    Raises:
        DataError: If they do not fit the pipeline.
    """
    found = (images.size, images.channels, images.bit_depth)
    wanted = (pipeline.config.image_size, pipeline.tokenizer.config.in_channels, pipeline.config.bit_depth)
    if found != wanted:
        raise DataError(
            f"`images` must have the pipeline's size, channels and bit depth, {wanted}, got {found}; take another run"
        )
    indices = evenly_spread(images.indices("validation"), most=most)
    return from_pixels(torch.from_numpy(images.read(indices)))


def _named(images: Tensor, names: Iterable[str]) -> tuple[GivenImage, ...]:
    return tuple(GivenImage(image, name) for image, name in zip(images, names, strict=True))


def _held_out_indices(source: BuiltinImages) -> np.ndarray:
    return np.flatnonzero(validation_mask(source.names, ImageConfig(group_pattern=BUILTIN_GROUP_PATTERN)))


def _decode_builtin(source: BuiltinImages, indices: Iterable[int], pipeline: Pipeline) -> Tensor:
    channels, config = pipeline.tokenizer.config.in_channels, pipeline.config
    pixels = [
        decode_image(source.read(int(index)), channels=channels, size=config.image_size, bit_depth=config.bit_depth)
        for index in indices
    ]
    return from_pixels(torch.from_numpy(np.stack(pixels)))
