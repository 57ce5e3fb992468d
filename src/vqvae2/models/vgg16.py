"""VGG16, pretrained on ImageNet, with weights named as in torchvision. Shapes: B images, C channels, H x W pixels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vqvae2.errors import CheckpointError
from vqvae2.images import pad_to_multiple, resize_to_square, to_rgb
from vqvae2.models.classifier import ClassifierOutput

__all__ = ["VGG16", "VGG16_FILE", "load_vgg16"]

VGG16_FILE = "vgg16-397923af.pth"  # as torchvision publishes it
_SIDE_PIXELS = 224


class VGG16(nn.Module):
    """VGG16 (Simonyan & Zisserman 2015, table 1, D): logits of 1000 classes, 4096 features, and `FeatureMaps`.

    ::

        image ─ to RGB ─ bicubic resize to 224 x 224 ─ (RGB - mean) / deviation
          ─ five stages of 3x3 conv, ReLU, each with a 2x2 max pool ─ two layers of 4096 ═ features ─ linear ═ logits
    """

    preprocessing = (
        f"RGB, resized to {_SIDE_PIXELS}x{_SIDE_PIXELS} by a bicubic filter with antialiasing, clamped to 0..255, "
        "ImageNet's mean and standard deviation"
    )
    """The preprocessing in words."""
    map_channels = (64, 128, 256, 512, 512)
    """Channels of each map of `feature_maps`."""
    _mean: Tensor
    _deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, num_convolutions in zip(self.map_channels, (2, 2, 3, 3, 3), strict=True):
            for _ in range(num_convolutions):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        first, second, last = nn.Linear(512 * 7 * 7, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000)
        self.classifier = nn.Sequential(first, nn.ReLU(), nn.Dropout(), second, nn.ReLU(), nn.Dropout(), last)
        for name, values in (("_mean", (0.485, 0.456, 0.406)), ("_deviation", (0.229, 0.224, 0.225))):  # of RGB in 0..1
            self.register_buffer(name, torch.tensor(values, device="cpu").view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> ClassifierOutput:
        """Look at images `(B, C, H, W)` in [-1, 1], of any size, with 1, 3 or 4 channels."""
        maps = self.features(self._normalize(resize_to_square(to_rgb(images), _SIDE_PIXELS)))
        features = self.classifier[:-1](maps.flatten(1))
        return ClassifierOutput(self.classifier[-1](features), features)

    def feature_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Look at images `(B, C, H, W)` as in `forward`, but at their own size; gradients reach them.

        Returns:
            Outputs of relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, float `(B, map_channels[i], H / 2 ** i,
            W / 2 ** i)`, where H and W are padded to multiples of 16 by repeating the right and lower edges.
        """
        x = self._normalize(pad_to_multiple(to_rgb(images), 16))
        maps = []
        for layer in list(self.features)[:-1]:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return (*maps, x)

    def _normalize(self, images: Tensor) -> Tensor:
        return (((images + 1.0) / 2.0 - self._mean) / self._deviation).contiguous(memory_format=torch.channels_last)


def load_vgg16(path: Path) -> VGG16:
    """Build the network, in evaluation mode with fixed weights, from their file; no code that it may hold runs.

    Raises:
        CheckpointError: If the file is missing or damaged, or does not hold exactly these weights, classifier included.
    """
    remedy = f"give {VGG16_FILE} as published with torchvision"
    with torch.device("meta"):  # no memory: the tensors of the file become the weights
        network = VGG16()
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: tuple(value.shape) for name, value in weights.items()}
    except Exception as error:  # torch's reader raises errors of any kind on damage
        raise CheckpointError(f"{path} is missing, damaged, or no file of weights; {remedy}") from error
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            shapes = f"{expected.get(name, 'none')}, got {found.get(name, 'none')}"
            raise CheckpointError(f"{path} must hold {name} of shape {shapes}; {remedy}")
    network.load_state_dict(weights, assign=True)
    return network.float().eval().requires_grad_(False)
