"""Networks that tell images of a decoder from real ones, while the decoder learns to deceive them.

Shapes: B images, C channels, H x W pixels, h x w positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["Discriminator"]

_WIDTH = 64


class Discriminator(nn.Module):
    """Judge every place of maps of features, at each scale by three spectrally normalized convolutions of its own.

    ::

        map of each scale ── fixed random 1x1 conv ── 3x3 conv, half size ── 3x3 conv ── 1x1 conv ═ logits

    On maps of a frozen network, this is a projected discriminator (Sauer et al. 2021, "Projected GANs Converge Faster",
    sec. 3, without mixing across scales): random projections keep it from looking at few features only. On the pixels
    themselves, as a single map, it judges patches (Isola et al. 2017, "Image-to-Image Translation", sec. 3.2.2).
    Spectral normalization (Miyato et al. 2018) bounds how fast the logits can change.
    """

    def __init__(self, map_channels: Sequence[int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(channels, _WIDTH, 1, bias=False) for channels in map_channels)
        for projection in self.projections:
            nn.init.kaiming_normal_(projection.weight, nonlinearity="linear")
        self.projections.requires_grad_(False)
        self.judges = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(_WIDTH, 1, 1)),
            )
            for _ in map_channels
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Judge maps `(B, c, h, w)`, one per scale: logits `(B, 1, h, w)` each, higher for what looks real."""
        return [
            judge(projection(features))
            for projection, judge, features in zip(self.projections, self.judges, maps, strict=True)
        ]
