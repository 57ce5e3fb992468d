"""Configs of classifiers: all that is needed to build one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from vqvae2.config.base import MAX_LAYERS, Config, require, require_at_most, require_positive

__all__ = [
    "CLASSIFIER_CONFIGS",
    "ClassifierConfig",
    "ClassifierFamily",
    "ClassifierNetworkConfig",
    "Lite0Config",
    "ResNetConfig",
]

ClassifierFamily = Literal["resnet", "lite0"]

_MAX_STAGES = 16


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(Config):
    """A residual network of our own, for images of about 32x32 to 128x128 pixels."""

    family: Literal["resnet"] = "resnet"
    hidden_channels: int = 32
    """Width of the first stage; each further stage is twice as wide."""
    num_blocks: tuple[int, ...] = (1, 2, 2)
    """Residual blocks of each stage; each stage but the first halves height and width. The first works on the largest
    maps: a block there takes as long as two or three of the next stage."""
    stem_stride: int = 1
    """Reduction by the first convolution: 1, or 2 for images of 64x64 pixels and above."""

    def __post_init__(self) -> None:
        require_positive(self, "hidden_channels")
        require(
            bool(self.num_blocks) and min(self.num_blocks) >= 1,
            f"`num_blocks` must give at least 1 block for each of one or more stages, got {self.num_blocks}",
        )
        require(
            len(self.num_blocks) <= _MAX_STAGES and sum(self.num_blocks) <= MAX_LAYERS,
            f"`num_blocks` must be at most {_MAX_STAGES} stages of {MAX_LAYERS} blocks in all, "
            f"got {len(self.num_blocks)} stages of {sum(self.num_blocks)}",
        )
        require(self.stem_stride in (1, 2), f"`stem_stride` must be 1 or 2, got {self.stem_stride}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage; the last is the number of features."""
        return tuple(self.hidden_channels * 2**stage for stage in range(len(self.num_blocks)))


@dataclass(frozen=True, kw_only=True)
class Lite0Config(Config):
    """EfficientNet-Lite0, pretrained on ImageNet, with a head of its own; needs the extra `eval`."""

    family: Literal["lite0"] = "lite0"
    is_frozen: bool = True
    """Train the head alone; else the whole network."""
    input_size: int = 224
    """Side in pixels to which images are resized first; it was trained at 224."""

    def __post_init__(self) -> None:
        require(self.input_size >= 32, f"`input_size` must be at least 32 pixels, got {self.input_size}")
        require_at_most(self, 4096, "input_size")


ClassifierNetworkConfig = Annotated[ResNetConfig | Lite0Config, Field(discriminator="family")]

CLASSIFIER_CONFIGS: dict[ClassifierFamily, type[ResNetConfig | Lite0Config]] = {
    "resnet": ResNetConfig,
    "lite0": Lite0Config,
}
"""By family."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """A classifier: its classes, the images that it takes, and its network."""

    classes: tuple[str, ...]
    """Names, in the order of the logits."""
    in_channels: int = 3
    """Channels of the images: 1 grey, 3 RGB, 4 RGB with transparency."""
    network: ClassifierNetworkConfig = field(default_factory=ResNetConfig)

    def __post_init__(self) -> None:
        require(
            len(self.classes) >= 2,
            f"`classes` must name at least 2 classes, got {len(self.classes)}; sub-folders of images are classes",
        )
        require(len(set(self.classes)) == len(self.classes), f"`classes` must be names that differ, got {self.classes}")
        require(self.in_channels in (1, 3, 4), f"`in_channels` must be 1, 3 or 4, got {self.in_channels}")
