"""Configs of classifiers: all that is needed to build one."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import MAX_LAYERS, Config, one_of, require
from vqvae2.config.images import Channels

ClassifierFamily = Literal["resnet", "lite0"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(Config):
    """A residual network of our own, for images of about 32x32 to 128x128 pixels."""

    family: Literal["resnet"] = "resnet"
    hidden_channels: PositiveInt = 32
    """Width of the first stage; each further stage is twice as wide."""
    num_blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=16)] = (1, 2, 2)
    """Residual blocks of each stage; each stage but the first halves height and width. The first stage has the largest
    maps: one block there costs as much time as two or three in the next stage."""
    stem_stride: Annotated[int, one_of(1, 2)] = 1
    """Stride of the first convolution: 1, or 2 for images of 64x64 pixels and above."""

    def __post_init__(self) -> None:
        total = sum(self.num_blocks)
        require(total <= MAX_LAYERS, f"`num_blocks` must be at most {MAX_LAYERS} blocks in all, got {total}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage; the last is the number of features."""
        return tuple(self.hidden_channels * 2**stage for stage in range(len(self.num_blocks)))


@dataclass(frozen=True, kw_only=True)
class Lite0Config(Config):
    """EfficientNet-Lite0, pretrained on ImageNet, with a new head; needs the extra `eval`."""

    family: Literal["lite0"] = "lite0"
    is_frozen: bool = True
    """Train the head alone; otherwise the whole network."""
    input_size: Annotated[int, Field(ge=32, le=4096)] = 224
    """Side in pixels to which images are resized first; the network was trained at 224."""


ClassifierNetworkConfig = Annotated[ResNetConfig | Lite0Config, Field(discriminator="family")]


def network_for_size(family: ClassifierFamily, size: tuple[int, int]) -> ClassifierNetworkConfig:
    """Return the default network of a family for images of that height and width in pixels.

    From 64 pixels on, a residual network halves the images at once, so it takes the time of half the size.
    """
    return Lite0Config() if family == "lite0" else ResNetConfig(stem_stride=2 if min(size) >= 64 else 1)


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """A classifier: its classes, the images that it takes, and its network."""

    classes: tuple[str, ...]
    """Names, in the order of the logits."""
    in_channels: Channels = 3
    """Channels of the images: 1 grey, 3 RGB, 4 RGB with transparency."""
    network: ClassifierNetworkConfig = field(default_factory=ResNetConfig)

    def __post_init__(self) -> None:
        count = len(self.classes)
        require(
            count >= 2, f"`classes` must name at least 2 classes, got {count}; put the images of each into a sub-folder"
        )
        require(len(set(self.classes)) == count, f"`classes` must have different names, got {self.classes}")
