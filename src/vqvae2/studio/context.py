"""What every tab of the studio is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.turns import Turns

__all__ = ["NUM_WALKS", "Example", "StudioContext"]

NUM_WALKS = 2
"""Long works, such as drawing images, that are done at a time; further ones wait in the order in which they came."""


@dataclass(frozen=True, eq=False)
class Example:
    """An image that is there when the page opens."""

    name: str
    """In words, as it is shown."""
    image: Tensor
    """`(C, H, W)` in [-1, 1], on the CPU, of the pipeline's image size."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StudioContext:
    """A pipeline and what surrounds it."""

    pipeline: Pipeline
    """In evaluation mode, on the device of the studio."""
    classifier: nn.Module | None
    """A `Classifier` of the pipeline's classes, on its device; None if the pipeline has none."""
    source: str
    """The pipeline as the user named it, for commands that are shown."""
    runs_folder: Path
    """Where runs are looked for."""
    examples: tuple[Example, ...]
    """Images that no part of the pipeline was trained on, where such are known."""
    turns: Turns
    """Whoever uses the pipeline does so in `with context.turns.take():`, and a walk passes on after each row."""

    @property
    def walk_limits(self) -> dict[str, Any]:
        """Arguments of an event that walks: all such events of all tabs share one fair queue."""
        return {"concurrency_id": "walks", "concurrency_limit": NUM_WALKS}
