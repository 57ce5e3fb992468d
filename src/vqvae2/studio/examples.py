"""Images for a first look: held-out ones of the pipeline's own run, or else of the built-in set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vqvae2.config import ImageConfig
from vqvae2.data import BUILTIN_GROUP_PATTERN, BuiltinImages, evenly_spread, open_prepared, validation_mask
from vqvae2.errors import DataError
from vqvae2.images import decode_image, from_pixels
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.context import Example

__all__ = ["find_examples"]

_FIRST_CLASS = "smileys-and-emotion"  # in a face, everyone sees what is lost


def find_examples(folder: Path, pipeline: Pipeline, *, num_images: int = 8) -> tuple[Example, ...]:
    """Give held-out images, one of each class first.

    Args:
        folder: Of the pipeline. If it is a run whose images are still there, they are taken from it.
        pipeline: Whose size and channels the images get.
        num_images: How many, at most.
    """
    if (folder / "images").is_dir():
        try:
            return _of_run(folder / "images", pipeline, num_images)
        except DataError:  # of a size or kind that cannot be read any more; others serve as well
            pass
    return _of_builtin_images(pipeline, num_images)


def _of_run(folder: Path, pipeline: Pipeline, num_images: int) -> tuple[Example, ...]:
    images = open_prepared(folder)
    if images.size != pipeline.config.image_size or images.channels != pipeline.tokenizer.config.in_channels:
        raise DataError("the images are not the pipeline's")
    indices = evenly_spread(images.indices("validation"), most=num_images)
    pixels = torch.from_numpy(images.read(indices))
    names = [Path(images.names[index]).stem for index in indices]
    return tuple(Example(name, image) for name, image in zip(names, from_pixels(pixels), strict=True))


def _of_builtin_images(pipeline: Pipeline, num_images: int) -> tuple[Example, ...]:
    source, config = BuiltinImages(), pipeline.config
    is_held_out = validation_mask(
        source.names, fraction=ImageConfig().validation_fraction, group_pattern=BUILTIN_GROUP_PATTERN
    )
    held_out = np.flatnonzero(is_held_out)
    classes = sorted(range(len(source.classes)), key=lambda label: source.classes[label] != _FIRST_CLASS)
    order = [held_out[source.labels[held_out] == label] for label in classes]
    chosen = [indices[len(indices) // 2] for indices in order if len(indices)][:num_images]
    examples = []
    for index in chosen:
        record = source[int(index)]
        pixels = decode_image(
            record.data,
            channels=pipeline.tokenizer.config.in_channels,
            size=config.image_size,
            bit_depth=config.bit_depth,
        )
        image = from_pixels(torch.from_numpy(pixels)[None])[0]
        examples.append(Example(source.classes[int(source.labels[index])].replace("-", " "), image))
    return tuple(examples)
