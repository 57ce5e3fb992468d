"""What to draw, as one value that travels from the caller to the walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vqvae2.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from vqvae2.config import SamplingConfig

__all__ = ["DrawRequest"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawRequest:
    """What to draw: which images of which seed, of which class, and how.

    Raises:
        ConfigError: If `seed` or `first_image` is negative, or `num_variants` is not positive.
    """

    seed: int = 0
    """The random numbers of image k, or of its variant v, come from the seed, k and v alone."""
    first_image: int = 0
    """k of the first image."""
    label: int | Tensor | None = None
    """Class of all images, or of each, int64 `(B,)`. With None, `Pipeline.sample` draws classes with their training
    frequencies; everything else tells the priors no class."""
    sampling: SamplingConfig | None = None
    """Temperature, top-k, top-p and guidance. With None, a pipeline takes its own, `PipelineConfig.sampling`, and
    priors alone draw at temperature 1."""
    num_variants: int = 1
    """Ways to complete or vary each image; must be 1 where new images are drawn."""

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("first_image", 0), ("num_variants", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
