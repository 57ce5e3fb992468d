"""Config of sampling: how codes are drawn."""

from typing import Annotated, NamedTuple

from pydantic import Field, NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import Config, SharesAboveZero


class LevelSampling(NamedTuple):
    """How the codes of one level are drawn; see `SamplingConfig`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Config):
    """How codes are drawn from the probabilities of a prior.

    The first three fields hold one value per level, top first. The last value also serves all further levels.
    """

    temperature: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = (1.0,)
    """Divides the logits: below 1 for likelier images, above 1 for more varied ones; 0 takes the likeliest code. One
    value for all levels, or one per level, top first."""
    top_k: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0,)
    """Draw from the k likeliest codes only; 0 for all. One value, or one per level."""
    top_p: SharesAboveZero = (1.0,)
    """Draw only from the fewest codes whose probabilities reach this sum. One value, or one per level."""
    guidance_scale: NonNegativeFloat = 1.0
    """Above 1 for images that are more typical of their class, at twice the time; 1 takes the priors as they are. Needs
    a class, and priors trained with `label_dropout`."""

    def level(self, level: int) -> LevelSampling:
        """Return how the codes of a level are drawn; level 0 is the top."""
        values = (getattr(self, name) for name in LevelSampling._fields)
        return LevelSampling(*(entries[min(level, len(entries) - 1)] for entries in values))
