"""The interface of networks that look at images, and a residual network that classifies small ones.

Shapes: B images, C channels, H x W pixels, K classes, D features.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vqvae2.config import ClassifierConfig, ResNetConfig
from vqvae2.images import require_channels

__all__ = ["Classifier", "ClassifierOutput", "FeatureMaps", "ResNetClassifier"]


class ClassifierOutput(NamedTuple):
    """The result of a classifier for some images."""

    logits: Tensor
    """float `(B, K)`; their softmax gives the probability of each class."""
    features: Tensor
    """float `(B, D)`: input of the layer that computes the logits; distances between sets of images use them."""


class Classifier(Protocol):
    """Any module that turns images into logits and features."""

    def __call__(self, images: Tensor) -> ClassifierOutput:
        """Look at images of any size, float `(B, C, H, W)` in [-1, 1]; resize and normalize them as in training."""


@runtime_checkable
class FeatureMaps(Protocol):
    """Any frozen module whose feature maps can serve as a loss: they are compared position by position."""

    @property
    def map_channels(self) -> tuple[int, ...]:
        """Channels of each map of `feature_maps`."""

    def feature_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Look at images at their own size, float `(B, C, H, W)` in [-1, 1]; gradients reach them.

        Returns:
            Maps of falling resolution, float `(B, map_channels[i], h_i, w_i)`.
        """


class ResNetClassifier(nn.Module):
    """Classify images of any size by a residual network with batch norms before the convolutions.

    Three stages, here with the default widths::

        image ─ 3x3 conv ─ stage 32 ─ stage 64, half size ─ stage 128, quarter size ─ norm, ReLU ─ mean ═ features
                                                                                                          │
                                                                                        logits ═ linear ──┘

        a block:  x ──┬─ norm, ReLU ─┬─ 3x3 conv ─ norm, ReLU ─ 3x3 conv ── + ── x'
                      └──────────────┴──────── identity, or 1x1 conv ───────┘

    Features are means over all positions, so a network can look at images of other sizes than in training. (He et al.
    2016, "Identity Mappings in Deep Residual Networks", fig. 1b; without pooling at the start, as He et al. 2015,
    sec. 4.2, for small images.)
    """

    preprocessing = "images as they are"
    """The preprocessing in words."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        network = config.network
        assert isinstance(network, ResNetConfig)
        width = network.hidden_channels
        self.stem = nn.Conv2d(config.in_channels, width, 3, stride=network.stem_stride, padding=1, bias=False)
        blocks: list[nn.Module] = []
        for stage, (stage_width, num_blocks) in enumerate(zip(network.widths, network.num_blocks, strict=True)):
            for index in range(num_blocks):
                blocks.append(_Block(width, stage_width, stride=2 if stage > 0 and index == 0 else 1))
                width = stage_width
        self.blocks = nn.Sequential(*blocks)
        self.norm = _NormReLU(width)
        self.head = nn.Linear(width, len(config.classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> ClassifierOutput:
        """Look at images `(B, C, H, W)` in [-1, 1], of any size.

        Raises:
            ValueError: If the number of channels is not that of the config.
        """
        require_channels(images, self.config.in_channels)
        maps = self.norm(self.blocks(self.stem(images.contiguous(memory_format=torch.channels_last))))
        features = maps.mean(dim=(2, 3))
        return ClassifierOutput(self.head(features), features)


class _NormReLU(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class _Block(nn.Module):
    """`(B, in_channels, H, W)` to `(B, channels, H / stride, W / stride)`, rounded up."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.norm = _NormReLU(in_channels)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
            _NormReLU(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )
        self.projection = None
        if stride > 1 or in_channels != channels:
            self.projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        active = self.norm(features)
        shortcut = features if self.projection is None else self.projection(active)
        out: Tensor = shortcut + self.layers(active)
        return out
