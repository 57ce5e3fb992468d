"""What every tab of the studio is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from vqvae2.config import DecoderName
from vqvae2.images import to_8_bits, to_pixels, to_rgb
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.turns import Turns
from vqvae2.studio.uploads import GivenImage

__all__ = ["NUM_WALKS", "WALK_LIMITS", "StudioContext"]

NUM_WALKS = 2
"""Long tasks, such as drawing, that run at a time; further ones wait in the order of their requests."""
WALK_LIMITS: Mapping[str, Any] = {"concurrency_id": "walks", "concurrency_limit": NUM_WALKS}
"""Arguments of an event that walks: such events of all tabs share one fair queue."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StudioContext:
    """A pipeline and what surrounds it."""

    pipeline: Pipeline
    """In evaluation mode, on the studio's device."""
    classifier: nn.Module | None
    """A `Classifier` of the pipeline's classes, on its device; None if the pipeline has none."""
    source: str
    """The pipeline as the user named it, for the commands that the page shows."""
    runs_folder: Path
    """Runs whose images the Codebook tab offers are looked for here."""
    examples: tuple[GivenImage, ...]
    """Held-out images of the pipeline's size, at least one."""
    turns: Turns
    """All use of the pipeline is in `with context.turns.take():`; a walk passes its turn on after each step."""

    @cached_property
    def by_decoder(self) -> Mapping[DecoderName, StudioContext]:
        """For each decoder that the pipeline has, this context with a pipeline that takes it by default.

        They share all models. An event takes the one of its visitor's decoder, so visitors do not disturb each other.
        """
        return {name: replace(self, pipeline=self.pipeline.using(name)) for name in sorted(self.pipeline.decoders)}

    def picture(self, image: Tensor) -> np.ndarray:
        """Turn an image `(C, H, W)`, about [-1, 1], on any device, into uint8 `(H, W, 3)`.

        Grey is repeated, transparency lies on white, and 16 bits are rounded to 16 bits first, as everywhere.
        """
        pixels = to_pixels(to_rgb(image[None].float().cpu()), bit_depth=self.pipeline.config.bit_depth)
        return to_8_bits(pixels[0].numpy())
