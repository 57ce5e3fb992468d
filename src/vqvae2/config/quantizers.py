"""Configs of quantizers: how a level's features become codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from vqvae2.config.base import Config, require, require_below_one, require_not_negative, require_positive

__all__ = [
    "QUANTIZER_CONFIGS",
    "CodebookLossConfig",
    "EMAConfig",
    "FSQConfig",
    "GradientEstimator",
    "QuantizerConfig",
    "QuantizerFamily",
]

QuantizerFamily = Literal["ema", "codebook-loss", "fsq"]
GradientEstimator = Literal["straight-through", "rotation"]
"""How the gradient gets from a codebook vector to the feature that it stands for."""


@dataclass(frozen=True, kw_only=True)
class _CodebookConfig(Config):
    """What the quantizers share that look for the nearest vector of a codebook."""

    num_embeddings: int = 512
    """Codes in the codebook of each level (K)."""
    embedding_dim: int = 64
    """Length of a code's vector (D)."""
    commitment_cost: float = 0.25
    """Weight of the loss that holds the encoder near its codes (beta)."""
    revival_threshold: float = 0.1
    """A code used less than this fraction of uniform use starts anew from an encoder output; 0 turns that off."""
    gradient: GradientEstimator = "straight-through"
    """How the gradient passes the quantizer: as it is, or turned and scaled as the feature was."""

    def __post_init__(self) -> None:
        require(self.num_embeddings >= 2, f"`num_embeddings` must be at least 2, got {self.num_embeddings}")
        require_positive(self, "embedding_dim")
        require_not_negative(self, "commitment_cost")
        require_below_one(self, "revival_threshold")
        require(
            self.gradient in ("straight-through", "rotation"),
            f"`gradient` must be 'straight-through' or 'rotation', got {self.gradient!r}",
        )


@dataclass(frozen=True, kw_only=True)
class EMAConfig(_CodebookConfig):
    """A codebook that follows the encoder by moving averages; the paper's choice."""

    family: Literal["ema"] = "ema"
    decay: float = 0.99
    """Decay of the codebook's moving averages, per optimizer step (gamma)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_below_one(self, "decay")


@dataclass(frozen=True, kw_only=True)
class CodebookLossConfig(_CodebookConfig):
    """A codebook that learns by gradient, from the paper's loss with all three terms."""

    family: Literal["codebook-loss"] = "codebook-loss"
    codebook_cost: float = 1.0
    """Weight of the loss that draws codes to the encoder's outputs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "codebook_cost")


@dataclass(frozen=True, kw_only=True)
class FSQConfig(Config):
    """Finite scalar quantization: a fixed grid in few dimensions, so no codebook that could collapse."""

    family: Literal["fsq"] = "fsq"
    num_values: tuple[int, ...] = (8, 8, 8)
    """Values that each dimension can take; K is their product."""

    def __post_init__(self) -> None:
        require(
            bool(self.num_values) and all(count >= 2 for count in self.num_values),
            f"`num_values` must give at least 2 values for each of one or more dimensions, got {self.num_values}",
        )
        require(
            len(self.num_values) <= 31 and self.num_embeddings <= 2**31,
            f"`num_values` must make at most 2^31 codes, got {self.num_values}",
        )

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
"""By family."""
