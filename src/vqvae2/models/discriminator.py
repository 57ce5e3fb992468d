"""Networks that tell decoded images from real ones, while a decoder learns to deceive them.

Shapes: B images, C channels, H x W pixels, c x h x w a map of features.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["Discriminator", "PatchDiscriminator", "ProjectedDiscriminator"]

# Of the projections of a network's maps, and of the first convolution on pixels.
_PROJECTED_WIDTH, _PIXELS_WIDTH = 32, 64
_MIN_SIDE = 4  # in pixels: a patch is halved twice


class Discriminator(nn.Module):
    """Judges images by maps of them, at several scales.

    Spectral normalization bounds how fast its logits can change (Miyato et al. 2018).
    """

    def __init__(self, scales: Sequence[nn.Module]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(scales)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Judge maps `(B, c, h, w)`, one per scale: logits `(B, 1, h', w')` of each, high where it looks real."""
        return [scale(features) for scale, features in zip(self.scales, maps, strict=True)]


class ProjectedDiscriminator(Discriminator):
    """Judges maps of a frozen network (Sauer et al. 2021, "Projected GANs Converge Faster", sec. 3).

    ::

        each map ── fixed random 1x1 conv ── 3x3 conv, half size ── 3x3 conv ── 1x1 conv ═ logits

    The random projections keep it from resting on a few features. There is no mixing across scales.
    """

    def __init__(self, map_channels: Sequence[int]) -> None:
        def scale(channels: int) -> nn.Module:
            width = _PROJECTED_WIDTH
            projection = nn.Conv2d(channels, width, 1, bias=False).requires_grad_(False)
            nn.init.kaiming_normal_(projection.weight, nonlinearity="linear")
            return nn.Sequential(projection, *_bounded((width, width, 3, 2), (width, width, 3, 1), (width, 1, 1, 1)))

        super().__init__([scale(channels) for channels in map_channels])


class PatchDiscriminator(Discriminator):
    """Judges patches of the pixels themselves (Isola et al. 2017, "Image-to-Image Translation", sec. 3.2.2).

    ::

        image (B, C, H, W) ── 4x4 conv, half size ── 4x4 conv, quarter size ── 3x3 conv ── 1x1 conv ═ logits

    Zeros fill images with fewer than 4 pixels each way up to these.
    """

    def __init__(self, in_channels: int) -> None:
        width, wide = _PIXELS_WIDTH, 2 * _PIXELS_WIDTH
        layers = _bounded((in_channels, width, 4, 2), (width, wide, 4, 2), (wide, wide, 3, 1), (wide, 1, 1, 1))
        super().__init__([nn.Sequential(*layers)])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        (images,) = maps
        height, width = images.shape[-2:]
        filled = functional.pad(images, (0, max(0, _MIN_SIDE - width), 0, max(0, _MIN_SIDE - height)))
        return super().forward([filled])


def _bounded(*shapes: tuple[int, int, int, int]) -> list[nn.Module]:
    """Build spectrally normalized convolutions with leaky ReLUs between.

    A shape is: channels of the input and of the output, side of the kernel, stride.
    """
    layers: list[nn.Module] = []
    for in_channels, out_channels, side, stride in shapes:
        convolution = nn.Conv2d(in_channels, out_channels, side, stride=stride, padding=(side - 1) // 2)
        layers += [nn.LeakyReLU(0.2), spectral_norm(convolution)]
    return layers[1:]
