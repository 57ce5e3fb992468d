"""Configs of priors: all that is needed to build one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from pydantic import Field

from vqvae2.config.base import (
    MAX_LAYERS,
    MAX_LEVELS,
    Config,
    require,
    require_at_most,
    require_below_one,
    require_not_negative,
    require_positive,
)

__all__ = [
    "NETWORK_CONFIGS",
    "CodeSpace",
    "NetworkConfig",
    "NetworkFamily",
    "PixelSNAILConfig",
    "PriorConfig",
    "TransformerConfig",
    "network_of_family",
]

NetworkFamily = Literal["pixelsnail", "transformer"]


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
        require_at_most(self, MAX_LEVELS - 1, "level")
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
class _NetworkConfig(Config):
    """What the networks of all priors share."""

    hidden_channels: int = 128
    """Width of the residual stream."""
    num_layers: int = 8
    """Blocks."""
    num_heads: int = 4
    """Heads of an attention layer."""
    num_kv_heads: int = 1
    """Heads of keys and values, which the others share: to draw a code, all of them are read. The paper's networks
    have as many as `num_heads`."""
    dropout: float = 0.1
    """On each branch and on attention logits."""
    conditioning_layers: int = 4
    """Residual blocks over the levels above; unused at the top."""

    def __post_init__(self) -> None:
        require_positive(self, "hidden_channels", "num_layers", "num_heads", "num_kv_heads")
        require_not_negative(self, "conditioning_layers")
        require_at_most(self, MAX_LAYERS, "num_layers", "conditioning_layers")
        require(
            self.hidden_channels % self.num_heads == 0,
            f"`hidden_channels` must be a multiple of `num_heads` ({self.num_heads}), got {self.hidden_channels}",
        )
        require(
            self.num_heads % self.num_kv_heads == 0,
            f"`num_kv_heads` must divide `num_heads` ({self.num_heads}), got {self.num_kv_heads}",
        )
        require_below_one(self, "dropout")


@dataclass(frozen=True, kw_only=True)
class PixelSNAILConfig(_NetworkConfig):
    """A PixelSNAIL prior's network (Razavi et al. 2019, table 2)."""

    family: Literal["pixelsnail"] = "pixelsnail"
    residual_channels: int = 128
    """Width inside a gated block."""
    kernel_size: int = 5
    """Side of the causal convolutions; odd."""
    attention_every: int = 4
    """An attention layer follows every so many gated blocks; 0 for none."""
    output_layers: int = 0
    """1x1 residual blocks on top."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "residual_channels")
        require(
            self.kernel_size >= 3 and self.kernel_size % 2 == 1,
            f"`kernel_size` must be odd and at least 3, got {self.kernel_size}",
        )
        require_not_negative(self, "attention_every", "output_layers")
        require_at_most(self, MAX_LAYERS, "output_layers")

    def attends_after(self, index: int) -> bool:
        """Whether an attention layer follows gated block `index`, 0 being the first."""
        return self.attention_every > 0 and (index + 1) % self.attention_every == 0


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(_NetworkConfig):
    """A transformer prior's network."""

    family: Literal["transformer"] = "transformer"
    feedforward_channels: int = 512
    """Width inside a feed-forward layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "feedforward_channels")
        require(
            self.hidden_channels % (4 * self.num_heads) == 0,
            f"`hidden_channels` must be a multiple of 4 `num_heads` ({4 * self.num_heads}), since positions turn "
            f"pairs of channels, got {self.hidden_channels}",
        )


NetworkConfig = Annotated[PixelSNAILConfig | TransformerConfig, Field(discriminator="family")]

NETWORK_CONFIGS: dict[NetworkFamily, type[PixelSNAILConfig | TransformerConfig]] = {
    "pixelsnail": PixelSNAILConfig,
    "transformer": TransformerConfig,
}
"""By family."""


def network_of_family(network: NetworkConfig, family: NetworkFamily) -> NetworkConfig:
    """Give a network of another family that has the same width, depth, heads and dropout."""
    if family == network.family:
        return network
    shared = {field_.name: getattr(network, field_.name) for field_ in fields(_NetworkConfig)}
    width = network.hidden_channels
    if family == "transformer":
        return TransformerConfig(**shared, feedforward_channels=4 * width)
    return PixelSNAILConfig(**shared, residual_channels=width)


@dataclass(frozen=True, kw_only=True)
class PriorConfig(Config):
    """A prior: the codes that it is over, and its network."""

    space: CodeSpace = field(default_factory=CodeSpace)
    network: NetworkConfig = field(default_factory=PixelSNAILConfig)
    tokenizer: str = ""
    """Fingerprint of the tokenizer whose codes it is over."""
