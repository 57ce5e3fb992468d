"""Configs: frozen, validated on construction, strict when read.

A config is all that is needed to build a model or to repeat a training, and it travels with every checkpoint.
Defaults are the smallest useful model; `vqvae2.presets` holds the named ones.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vqvae2.errors import ConfigError

__all__ = [
    "CodeSpace",
    "Config",
    "Device",
    "ImageConfig",
    "PixelSNAILConfig",
    "Precision",
    "PriorConfig",
    "SamplingConfig",
    "TrainingConfig",
    "VQVAE2Config",
    "level_names",
]

Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class Config:
    """Base of all configs: dictionaries out, strictly checked dictionaries in."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries that `json` can write."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build the config from what `to_dict` returned.

        Raises:
            ConfigError: If a key is unknown, missing or of the wrong type, or a value cannot be used.
        """
        try:  # through JSON, since only there may an array stand for a tuple in strict mode
            return TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise ConfigError(
                f"`{where}` of {cls.__name__}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r}"
            ) from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_positive(config: Any, *names: str) -> None:
    for name in names:
        _require(getattr(config, name) > 0, f"`{name}` must be above 0, got {getattr(config, name)}")


def level_names(num_levels: int) -> tuple[str, ...]:
    """Name the levels, coarsest first: top, bottom; with three, top, mid, bottom; with more, mid1, mid2, ..."""
    if num_levels <= 2:
        return ("top", "bottom")[:num_levels]
    mids = ("mid",) if num_levels == 3 else tuple(f"mid{index}" for index in range(1, num_levels - 1))
    return ("top", *mids, "bottom")


@dataclass(frozen=True, kw_only=True)
class ImageConfig(Config):
    """How images are read and split."""

    size: int = 64
    """Side of the square that every image becomes, in pixels."""
    channels: int = 3
    """1 grey, 3 RGB, 4 RGB with transparency."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """How a rectangle becomes a square: cut the longer side, add a white border, or change the aspect ratio."""
    validation_fraction: float = 0.1
    """Share of the images held out, chosen by a hash of the file name."""
    group_pattern: str | None = None
    """Regular expression on the path; files with the same first group stay on one side of the split."""

    def __post_init__(self) -> None:
        _require_positive(self, "size")
        _require(self.channels in (1, 3, 4), f"`channels` must be 1, 3 or 4, got {self.channels}")
        _require(
            0.0 < self.validation_fraction < 1.0,
            f"`validation_fraction` must lie between 0 and 1, got {self.validation_fraction}",
        )


@dataclass(frozen=True, kw_only=True)
class VQVAE2Config(Config):
    """The tokenizer. Every number of the paper's stage 1 table has its field (Razavi et al. 2019, table 1)."""

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
    num_embeddings: int = 512
    """Codes in the codebook of each level (K)."""
    embedding_dim: int = 64
    """Length of a code's vector (D)."""
    commitment_cost: float = 0.25
    """Weight of the commitment loss (beta)."""
    preview_weight: float = 0.05
    """Weight of the loss that makes upper levels foretell the lower ones; the paper has none, 0."""
    decay: float = 0.99
    """Decay of the codebook's moving averages, per optimizer step (gamma)."""
    revival_threshold: float = 0.1
    """A code used less than this fraction of uniform use starts anew from an encoder output; 0 turns that off."""

    def __post_init__(self) -> None:
        _require_positive(self, "in_channels", "hidden_channels", "residual_channels", "embedding_dim")
        _require(bool(self.strides), "`strides` must name one reduction a level, got none")
        for stride in self.strides:
            _require(
                stride >= 2 and stride & (stride - 1) == 0, f"`strides` must be powers of two above 1, got {stride}"
            )
        _require(self.residual_layers >= 0, f"`residual_layers` must be at least 0, got {self.residual_layers}")
        _require(self.num_embeddings >= 2, f"`num_embeddings` must be at least 2, got {self.num_embeddings}")
        for name in ("commitment_cost", "preview_weight"):
            _require(getattr(self, name) >= 0.0, f"`{name}` must be at least 0, got {getattr(self, name)}")
        _require(0.0 <= self.decay < 1.0, f"`decay` must be in 0..1, 1 excluded, got {self.decay}")
        _require(
            0.0 <= self.revival_threshold < 1.0,
            f"`revival_threshold` must be in 0..1, 1 excluded, got {self.revival_threshold}",
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
        _require(self.level >= 0, f"`level` must be at least 0, got {self.level}")
        _require(
            len(self.num_embeddings) == self.level + 1 and all(size >= 2 for size in self.num_embeddings),
            f"`num_embeddings` must give a size of at least 2 for each of {self.level + 1} levels, "
            f"got {self.num_embeddings}",
        )
        _require(
            len(self.upsampling) == self.level and all(factor >= 1 for factor in self.upsampling),
            f"`upsampling` must give a factor for each of the {self.level} levels above, got {self.upsampling}",
        )
        _require(self.num_classes >= 0, f"`num_classes` must be at least 0, got {self.num_classes}")

    @classmethod
    def of_level(
        cls, level: int, *, num_embeddings: tuple[int, ...], shapes: tuple[tuple[int, int], ...], num_classes: int
    ) -> CodeSpace:
        """Describe one level of a hierarchy, given codebook size and code grid of all of its levels."""
        _require(0 <= level < len(shapes), f"`level` must be in 0..{len(shapes) - 1} (0 is the top), got {level}")
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
        _require_positive(self, "hidden_channels", "residual_channels", "num_layers", "num_heads")
        _require(
            self.kernel_size >= 3 and self.kernel_size % 2 == 1,
            f"`kernel_size` must be odd and at least 3, got {self.kernel_size}",
        )
        for name in ("attention_every", "output_layers", "conditioning_layers"):
            _require(getattr(self, name) >= 0, f"`{name}` must be at least 0, got {getattr(self, name)}")
        _require(
            self.hidden_channels % self.num_heads == 0,
            f"`hidden_channels` must be a multiple of `num_heads` ({self.num_heads}), got {self.hidden_channels}",
        )
        _require(0.0 <= self.dropout < 1.0, f"`dropout` must be in 0..1, 1 excluded, got {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class PriorConfig(Config):
    """A prior: the codes that it is over, and its network."""

    space: CodeSpace = field(default_factory=CodeSpace)
    network: PixelSNAILConfig = field(default_factory=PixelSNAILConfig)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """One training, of any model."""

    steps: int = 2000
    """Optimizer steps."""
    batch_size: int = 64
    """Images a step."""
    learning_rate: float = 1e-3
    """The highest rate; it falls to nothing along a cosine."""
    warmup_fraction: float = 0.05
    """Share of the steps over which the rate rises linearly from nothing."""
    weight_decay: float = 0.01
    """AdamW's, on tensors of two or more dimensions."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    label_dropout: float = 0.1
    """Share of images whose class a prior does not see, so that it can also be used without one."""
    horizontal_flips: bool = False
    """Mirror half of the training images at random."""
    validations: int = 8
    """How many times to validate, spread over the training, the last step included."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints from which training can go on; the last step always writes one."""
    seed: int = 0
    """Of initialization, order, flips and dropout."""

    def __post_init__(self) -> None:
        _require_positive(self, "steps", "batch_size", "learning_rate", "max_grad_norm", "validations")
        for name in ("warmup_fraction", "label_dropout"):
            _require(0.0 <= getattr(self, name) <= 1.0, f"`{name}` must be in 0..1, got {getattr(self, name)}")
        for name in ("weight_decay", "checkpoint_seconds", "seed"):
            _require(getattr(self, name) >= 0, f"`{name}` must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Config):
    """How codes are drawn from a prior's probabilities."""

    temperature: float = 1.0
    """Divides the logits: below 1 for likelier images, above 1 for more varied ones; 0 takes the likeliest code."""
    top_k: int = 0
    """Draw from the k likeliest codes only; 0 for all."""
    top_p: float = 1.0
    """Draw from the fewest codes whose probabilities reach this sum only."""

    def __post_init__(self) -> None:
        _require(self.temperature >= 0.0, f"`temperature` must be at least 0, got {self.temperature}")
        _require(self.top_k >= 0, f"`top_k` must be at least 0, got {self.top_k}")
        _require(0.0 < self.top_p <= 1.0, f"`top_p` must be in 0..1, 0 excluded, got {self.top_p}")
