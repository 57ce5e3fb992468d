"""Draw images as a visitor asks for them, and say by which command they can be drawn again.

Shapes: C channels, H x W pixels.
"""

from __future__ import annotations

import io
import math
import shlex
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from vqvae2.config import LevelSampling, SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.images import encode_png, image_grid, to_pixels
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.pipeline.rejection import num_candidates
from vqvae2.pipeline.sample_streams import DrawnSample, sample_accepted
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.context import StudioContext
from vqvae2.studio.walk_view import WalkReport, WalkStep
from vqvae2.training.runtime import choose_device

_Number = TypeVar("_Number", int, float)

__all__ = ["MOST_IMAGES", "SampleRequest", "Samples", "draw", "grid_png", "level_settings", "samples_zip"]

MOST_IMAGES = 64
"""That one request draws; the batch size of `vqvae2 sample`, so that one batch holds them there and here."""


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What is to be drawn; the fields are those of `vqvae2 sample`.

    Raises:
        ConfigError: If a number is out of its range.
    """

    num_images: int = 16
    seed: int = 0
    class_name: str | None = None
    acceptance_rate: float = 1.0
    """1 keeps every image, and asks no classifier."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.num_images <= MOST_IMAGES:
            raise ConfigError(f"`num_images` must be in 1..{MOST_IMAGES}, got {self.num_images}")
        if self.seed < 0:
            raise ConfigError(f"`seed` must be at least 0, got {self.seed}")
        num_candidates(self.num_images, self.acceptance_rate)  # refuses what is no rate

    def draw_request(self, pipeline: Pipeline) -> DrawRequest:
        """Give the same in the pipeline's terms.

        Raises:
            ConfigError: If the pipeline has no such class.
        """
        label = None if self.class_name is None else pipeline.class_index(self.class_name)
        return DrawRequest(seed=self.seed, label=label, sampling=self.sampling)

    def command(self, context: StudioContext) -> str:
        """Give the command that draws the same images, in the language of a Unix shell."""
        words = ["vqvae2", "sample", context.source, "--out", "samples", "--num-images", str(self.num_images)]
        words += ["--seed", str(self.seed)]
        if self.class_name is not None:
            words += ["--class", self.class_name]
        default = SamplingConfig()
        for name in LevelSampling._fields:
            values = getattr(self.sampling, name)
            if values != getattr(default, name):
                words += [f"--{name.replace('_', '-')}", *map(str, values)]
        if self.sampling.guidance_scale != default.guidance_scale:
            words += ["--guidance-scale", str(self.sampling.guidance_scale)]
        if self.acceptance_rate < 1.0:
            words += ["--acceptance-rate", str(self.acceptance_rate)]
        device = context.pipeline.device.type
        if device != choose_device().type:
            words += ["--device", device]
        return shlex.join(words)


class Samples(NamedTuple):
    """Images that were drawn."""

    pixels: np.ndarray
    """uint8 or uint16 `(B, H, W, C)`."""
    numbers: tuple[int, ...]
    """Of the images of the seed, ascending."""
    classes: tuple[str, ...]
    """Intended class of each; empty without classes."""


Tell = Callable[[WalkStep | Samples], None]
"""Is told how far a drawing is: rows of a batch, or where a classifier chooses, those that are kept so far."""


def draw(context: StudioContext, request: SampleRequest, tell: Tell) -> Samples:
    """Draw what is asked for, in turn with others; what `tell` raises ends it.

    Raises:
        CheckpointError: If the pipeline has no priors, or no classes that a classifier could judge.
        ConfigError: If the request does not fit the pipeline, or asks for a classifier that it does not have.
    """
    with context.turns.take():
        if request.acceptance_rate < 1.0:
            return _draw_accepted(context, request, tell)
        return _draw_all(context, request, tell)


def _draw_all(context: StudioContext, request: SampleRequest, tell: Tell) -> Samples:
    pipeline, asked = context.pipeline, request.draw_request(context.pipeline)
    images = pipeline.sample(request.num_images, asked, hooks=WalkReport(tell, context.turns).hooks)
    labels = pipeline.labels(request.num_images, asked)
    names = pipeline.config.classes
    return Samples(
        to_pixels(images, bit_depth=pipeline.config.bit_depth).cpu().numpy(),
        tuple(range(request.num_images)),
        () if labels is None else tuple(names[index] for index in labels.tolist()),
    )


def _draw_accepted(context: StudioContext, request: SampleRequest, tell: Tell) -> Samples:
    if context.classifier is None:
        raise ConfigError(
            f"`acceptance_rate` must be 1, since this pipeline has no classifier, got {request.acceptance_rate:g}; "
            "train one with `vqvae2 train-classifier`"
        )
    kept: dict[int, DrawnSample] = {}

    def report(done: int, total: int) -> None:
        tell(WalkStep(done, total, None))
        context.turns.pass_on()

    for sample in sample_accepted(
        context.pipeline,
        context.classifier,
        request.num_images,
        request.draw_request(context.pipeline),
        acceptance_rate=request.acceptance_rate,
        batch_size=MOST_IMAGES,
        hooks=Hooks(on_progress=report),
    ):
        if sample.displaced is not None:
            del kept[sample.displaced]
        kept[sample.number] = sample
        tell(_gather(kept, context.pipeline))
    return _gather(kept, context.pipeline)


def _gather(kept: dict[int, DrawnSample], pipeline: Pipeline) -> Samples:
    numbers, names = tuple(sorted(kept)), pipeline.config.classes
    labels = [kept[number].label for number in numbers]
    return Samples(
        torch.stack([kept[number].pixels for number in numbers]).numpy(),
        numbers,
        tuple(names[label] for label in labels if label is not None),
    )


def grid_png(pixels: np.ndarray) -> bytes:
    """Lay images `(B, H, W, C)` out as `vqvae2 sample` does, as the bytes of a PNG file."""
    return encode_png(image_grid(pixels, columns=math.ceil(math.sqrt(len(pixels)))))


def samples_zip(samples: Samples, command: str) -> bytes:
    """Put images into a ZIP archive, under the names that `vqvae2 sample` gives them, with that command beside them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored as they are: PNG files are compressed already
        for number, pixels in zip(samples.numbers, samples.pixels, strict=True):
            archive.writestr(f"{number:06d}.png", encode_png(pixels))
        archive.writestr("command.txt", command + "\n")
    return buffer.getvalue()


def level_settings(
    temperature: Sequence[float], top_k: Sequence[float], top_p: Sequence[float], *, guidance_scale: float
) -> SamplingConfig:
    """Make a config of the values of each level; equal values of all levels become one."""

    def shortened(values: Sequence[_Number]) -> tuple[_Number, ...]:
        return tuple(values[:1] if len(set(values)) == 1 else values)

    return SamplingConfig(
        temperature=shortened([float(value) for value in temperature]),
        top_k=shortened([int(value) for value in top_k]),
        top_p=shortened([float(value) for value in top_p]),
        guidance_scale=float(guidance_scale),
    )
