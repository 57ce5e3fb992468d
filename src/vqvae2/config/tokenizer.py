"""Config of the tokenizer: all that is needed to build one, with its quantizers, which turn features into codes."""

import math
from dataclasses import field
from itertools import accumulate
from operator import mul
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import MAX_LAYERS, MAX_LEVELS, BelowOne, Config, require

DecoderName = Literal["faithful", "sharp"]
"""The tokenizer's own decoder, of least squared error, or the second one, which draws what the codes leave open."""
QuantizerFamily = Literal["ema", "codebook-loss", "fsq"]

_MAX_REDUCTION = 2**16


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


def level_names(num_levels: int) -> tuple[str, ...]:
    """Name the levels, coarsest first: top, bottom; with three, top, mid, bottom; with more, mid1, mid2, ..."""
    if num_levels <= 2:
        return ("top", "bottom")[:num_levels]
    mids = ("mid",) if num_levels == 3 else tuple(f"mid{index}" for index in range(1, num_levels - 1))
    return ("top", *mids, "bottom")


@dataclass(frozen=True, kw_only=True)
class VQVAE2Config(Config):
    """The tokenizer. The defaults are the paper's (Razavi et al. 2019, table 1), except for `preview_weight`."""

    in_channels: PositiveInt = 3
    """Channels of the images."""
    strides: Annotated[tuple[int, ...], Field(min_length=1, max_length=MAX_LEVELS)] = (4, 2)
    """Reduction from the image to the bottom level, then from each level to the one above; powers of two."""
    hidden_channels: Annotated[int, Field(ge=2)] = 128
    """Width of the convolutions."""
    residual_channels: PositiveInt = 64
    """Width inside a residual block."""
    residual_layers: NonNegativeInt = 2
    """Residual blocks in each stack."""
    detail_channels: NonNegativeInt = 0
    """Width of a branch beside the end of the decoder, which is linear at the size of the pixels; each doubling halves
    it. The paper has none, 0."""
    quantizer: QuantizerConfig = field(default_factory=EMAConfig)
    """How the features of each level become codes."""
    preview_weight: NonNegativeFloat = 0.05
    """Weight of the loss that lets upper levels predict the lower ones; the paper has none, 0."""

    def __post_init__(self) -> None:
        for stride in self.strides:
            is_power = stride >= 2 and stride & (stride - 1) == 0
            require(is_power, f"`strides` must be powers of two above 1, got {stride}")
        require(
            self.stride <= _MAX_REDUCTION,
            f"`strides` must reduce an image at most {_MAX_REDUCTION} times in all, got {self.stride} times",
        )
        require(
            self.detail_channels % self.strides[0] == 0,
            f"`detail_channels` must be a multiple of the first of `strides` ({self.strides[0]}), "
            f"got {self.detail_channels}",
        )
        require(
            self.residual_layers * self.num_levels <= MAX_LAYERS,
            f"`residual_layers` must be at most {MAX_LAYERS} on all {self.num_levels} levels together, "
            f"got {self.residual_layers} on each",
        )

    @property
    def num_levels(self) -> int:
        return len(self.strides)

    @property
    def level_names(self) -> tuple[str, ...]:
        return level_names(self.num_levels)

    @property
    def reductions(self) -> tuple[int, ...]:
        """Pixels of the image along the side of one code, for each level, top first."""
        return tuple(accumulate(self.strides, mul))[::-1]

    @property
    def stride(self) -> int:
        """Images are padded to a multiple of this many pixels."""
        return self.reductions[0]

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each level, top first."""
        return (self.quantizer.num_embeddings,) * self.num_levels

    def code_shapes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return the code grid `(h, w)` of each level, top first, for an image of that size in pixels."""
        height, width = height + -height % self.stride, width + -width % self.stride
        return tuple((height // factor, width // factor) for factor in self.reductions)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(Config):
    """A second decoder for the codes of a tokenizer."""

    tokenizer_config: VQVAE2Config
    """The tokenizer's; the second decoder has the shape of its own."""
    tokenizer: str
    """Fingerprint of the tokenizer, see `checkpoint.fingerprint`."""
