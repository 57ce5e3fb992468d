"""Convolutional parts of the tokenizer: residual stacks and strided convolutions.

A ReLU works in place where nothing else reads its input: on a CPU, new memory for large maps costs more than the ReLU.

Shapes: B images, C channels, H x W pixels or grid positions.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Double", "Downsample", "ResidualBlock", "ResidualStack", "Upsample"]


class ResidualBlock(nn.Module):
    """ReLU, 3x3 convolution, ReLU, 1x1 convolution, added to the input; no normalization (Razavi et al. 2019)."""

    def __init__(self, channels: int, residual_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, residual_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(residual_channels, channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.layers(features)
        return out


class ResidualStack(nn.Sequential):
    """Residual blocks, then a ReLU. `(B, C, H, W)` to the same shape."""

    def __init__(self, channels: int, residual_channels: int, num_blocks: int) -> None:
        super().__init__(
            *(ResidualBlock(channels, residual_channels) for _ in range(num_blocks)), nn.ReLU(inplace=True)
        )


class Downsample(nn.Sequential):
    """Halve both sides with 4x4 convolutions until `stride` (a power of two) is reached, then mix with a 3x3 one.

    `(B, in_channels, H, W)` to `(B, channels, H / stride, W / stride)`. All halvings except the last have half the
    width, since they work at higher resolutions.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        layers: list[nn.Module] = []
        while stride > 1:
            stride //= 2
            width = channels // 2 if stride > 1 else channels
            layers += [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
            in_channels = width
        super().__init__(*layers, nn.Conv2d(in_channels, channels, 3, padding=1))


class Upsample(nn.Sequential):
    """Double both sides with 4x4 transposed convolutions until `stride` (a power of two) is reached.

    `(B, in_channels, H, W)` to `(B, channels, H * stride, W * stride)`; `hidden_channels` in between.
    """

    def __init__(self, in_channels: int, hidden_channels: int, channels: int, stride: int) -> None:
        layers: list[nn.Module] = []
        while stride > 1:
            stride //= 2
            width = hidden_channels if stride > 1 else channels
            layers.append(Double(in_channels, width))
            if stride > 1:
                layers.append(nn.ReLU(inplace=True))
            in_channels = width
        super().__init__(*layers)


class Double(nn.ConvTranspose2d):
    """Double both sides. `(B, in_channels, H, W)` to `(B, out_channels, 2 H, 2 W)`.

    The bias is added after the convolution: on a CPU, the convolution's own gradient of its bias takes as long as those
    of its weights and inputs together.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:  # type: ignore[override]
        assert self.bias is not None
        out = functional.conv_transpose2d(features, self.weight, stride=2, padding=1)
        return out.add_(self.bias.to(out.dtype)[:, None, None])
