"""Configs of models: all that is needed to build one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vqvae2.config.base import Config, require, require_below_one, require_not_negative, require_positive
from vqvae2.config.quantizers import QUANTIZER_CONFIGS, EMAConfig, QuantizerConfig

__all__ = ["CodeSpace", "PixelSNAILConfig", "PriorConfig", "VQVAE2Config", "level_names"]


def level_names(num_levels: int) -> tuple[str, ...]:
    """Name the levels, coarsest first: top, bottom; with three, top, mid, bottom; with more, mid1, mid2, ..."""
    if num_levels <= 2:
        return ("top", "bottom")[:num_levels]
    mids = ("mid",) if num_levels == 3 else tuple(f"mid{index}" for index in range(1, num_levels - 1))
    return ("top", *mids, "bottom")


@dataclass(frozen=True, kw_only=True)
class VQVAE2Config(Config):
    """The tokenizer. The defaults are the paper's (Razavi et al. 2019, table 1), but for `preview_weight`."""

    in_channels: int = 3
    """Channels of the images."""
    strides: tuple[int, ...] = (4, 2)
    """Reduction from the image to the bottom level, then from each level to the one above; powers of two."""
    hidden_channels: int = 128
    """Width of the convolutions."""
    residual_channels: int = 64
    """Width inside a residual block."""
    residual_layers: int = 2
    """Residual blocks in each stack."""
    quantizer: QuantizerConfig = field(default_factory=EMAConfig)
    """How each level's features become codes."""
    preview_weight: float = 0.05
    """Weight of the loss that makes upper levels foretell the lower ones; the paper has none, 0."""

    def __post_init__(self) -> None:
        require_positive(self, "in_channels", "hidden_channels", "residual_channels")
        require(bool(self.strides), "`strides` must name one reduction a level, got none")
        for stride in self.strides:
            require(
                stride >= 2 and stride & (stride - 1) == 0, f"`strides` must be powers of two above 1, got {stride}"
            )
        require(self.hidden_channels >= 2, f"`hidden_channels` must be at least 2, got {self.hidden_channels}")
        require_not_negative(self, "residual_layers", "preview_weight")
        require(
            isinstance(self.quantizer, tuple(QUANTIZER_CONFIGS.values())),
            f"`quantizer` must be a config of one of {', '.join(QUANTIZER_CONFIGS)}, got {self.quantizer!r}",
        )

    @property
    def num_levels(self) -> int:
        return len(self.strides)

    @property
    def level_names(self) -> tuple[str, ...]:
        return level_names(self.num_levels)

    @property
    def reductions(self) -> tuple[int, ...]:
        """Pixels of the image along a side of one code, a level, top first."""
        factors: list[int] = []
        for stride in self.strides:
            factors.append(stride * (factors[-1] if factors else 1))
        return tuple(reversed(factors))

    @property
    def stride(self) -> int:
        """Images are padded to a multiple of this many pixels."""
        return self.reductions[0]

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each level, top first."""
        return (self.quantizer.num_embeddings,) * self.num_levels

    def code_shapes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Grid of codes `(h, w)` of each level, top first, for an image of that size in pixels."""
        height, width = height + -height % self.stride, width + -width % self.stride
        return tuple((height // factor, width // factor) for factor in self.reductions)


@dataclass(frozen=True, kw_only=True)
class CodeSpace(Config):
    """What a prior is over: the codes of one level, given the levels above and perhaps a class."""

    level: int = 0
    """0 is the top."""
    num_embeddings: tuple[int, ...] = (512,)
    """Codebook size of each level from the top down to this one."""
    upsampling: tuple[int, ...] = ()
    """For each level above, top first: how many codes of this level lie along a side of one of its codes."""
    num_classes: int = 0
    """0 for an unconditional prior."""

    def __post_init__(self) -> None:
        require_not_negative(self, "level")
        require(
            len(self.num_embeddings) == self.level + 1 and all(size >= 2 for size in self.num_embeddings),
            f"`num_embeddings` must give a size of at least 2 for each of {self.level + 1} levels, "
            f"got {self.num_embeddings}",
        )
        require(
            len(self.upsampling) == self.level and all(factor >= 1 for factor in self.upsampling),
            f"`upsampling` must give a factor for each of the {self.level} levels above, got {self.upsampling}",
        )
        require_not_negative(self, "num_classes")

    @classmethod
    def of_level(
        cls, level: int, *, num_embeddings: tuple[int, ...], shapes: tuple[tuple[int, int], ...], num_classes: int
    ) -> CodeSpace:
        """Describe one level of a hierarchy, given codebook size and code grid of all of its levels."""
        require(0 <= level < len(shapes), f"`level` must be in 0..{len(shapes) - 1} (0 is the top), got {level}")
        return cls(
            level=level,
            num_embeddings=num_embeddings[: level + 1],
            upsampling=tuple(shapes[level][0] // above[0] for above in shapes[:level]),
            num_classes=num_classes,
        )


@dataclass(frozen=True, kw_only=True)
class PixelSNAILConfig(Config):
    """A PixelSNAIL prior's network (Razavi et al. 2019, table 2)."""

    family: Literal["pixelsnail"] = "pixelsnail"
    hidden_channels: int = 128
    """Width of the residual stream."""
    residual_channels: int = 128
    """Width inside a gated block."""
    num_layers: int = 8
    """Gated blocks."""
    kernel_size: int = 5
    """Side of the causal convolutions; odd."""
    attention_every: int = 4
    """An attention layer follows every so many gated blocks; 0 for none."""
    num_heads: int = 4
    """Heads of an attention layer."""
    dropout: float = 0.1
    """On each block and on attention weights."""
    output_layers: int = 0
    """1x1 residual blocks on top."""
    conditioning_layers: int = 4
    """Residual blocks over the levels above; unused at the top."""

    def __post_init__(self) -> None:
        require_positive(self, "hidden_channels", "residual_channels", "num_layers", "num_heads")
        require(
            self.kernel_size >= 3 and self.kernel_size % 2 == 1,
            f"`kernel_size` must be odd and at least 3, got {self.kernel_size}",
        )
        require_not_negative(self, "attention_every", "output_layers", "conditioning_layers")
        require(
            self.hidden_channels % self.num_heads == 0,
            f"`hidden_channels` must be a multiple of `num_heads` ({self.num_heads}), got {self.hidden_channels}",
        )
        require_below_one(self, "dropout")


@dataclass(frozen=True, kw_only=True)
class PriorConfig(Config):
    """A prior: the codes that it is over, and its network."""

    space: CodeSpace = field(default_factory=CodeSpace)
    network: PixelSNAILConfig = field(default_factory=PixelSNAILConfig)
    tokenizer: str = ""
    """Fingerprint of the tokenizer whose codes it is over."""
