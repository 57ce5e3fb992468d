"""Configs of quantizers: how the features of a level become codes."""

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import BelowOne, Config, require

QuantizerFamily = Literal["ema", "codebook-loss", "fsq"]


@dataclass(frozen=True, kw_only=True)
class _CodebookConfig(Config):
    """What quantizers share that look up the nearest vector of a codebook."""

    num_embeddings: Annotated[int, Field(ge=2)] = 512
    """Codes in the codebook of each level (K)."""
    embedding_dim: PositiveInt = 64
    """Length of a code's vector (D)."""
    commitment_cost: NonNegativeFloat = 0.25
    """Weight of the loss that keeps the encoder close to its codes (beta)."""
    revival_threshold: BelowOne = 0.1
    """Restart a code from an encoder output when its use falls below this fraction of uniform use; 0 for never."""
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    """How the gradient passes from code to feature: unchanged, or rotated and scaled as the feature was."""


@dataclass(frozen=True, kw_only=True)
class EMAConfig(_CodebookConfig):
    """A codebook that follows the encoder by moving averages; the paper's choice."""

    family: Literal["ema"] = "ema"
    decay: BelowOne = 0.99
    """Decay of the codebook's moving averages, per optimizer step (gamma)."""


@dataclass(frozen=True, kw_only=True)
class CodebookLossConfig(_CodebookConfig):
    """A codebook that learns by gradient, from the paper's loss with all three terms."""

    family: Literal["codebook-loss"] = "codebook-loss"
    codebook_cost: PositiveFloat = 1.0
    """Weight of the loss that draws codes to the encoder's outputs."""


@dataclass(frozen=True, kw_only=True)
class FSQConfig(Config):
    """Finite scalar quantization: a fixed grid in few dimensions, so there is no codebook that could collapse."""

    family: Literal["fsq"] = "fsq"
    num_values: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1, max_length=31)] = (8, 8, 8)
    """Values that each dimension can take; K is their product."""

    def __post_init__(self) -> None:
        require(self.num_embeddings <= 2**31, f"`num_values` must make at most 2^31 codes, got {self.num_values}")

    @property
    def num_embeddings(self) -> int:
        """K."""
        return math.prod(self.num_values)

    @property
    def embedding_dim(self) -> int:
        """D."""
        return len(self.num_values)


QuantizerConfig = Annotated[EMAConfig | CodebookLossConfig | FSQConfig, Field(discriminator="family")]

QUANTIZER_CONFIGS: dict[QuantizerFamily, type[EMAConfig | CodebookLossConfig | FSQConfig]] = {
    "ema": EMAConfig,
    "codebook-loss": CodebookLossConfig,
    "fsq": FSQConfig,
}
