"""From the vectors of codes to pixels: the end of a tokenizer, and a second decoder in its place.

Shapes: B images, C channels, H x W pixels, h x w code grid of a level, D embedding length. Level 0 is the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from vqvae2.config import DecoderConfig, VQVAE2Config
from vqvae2.nn.residual import Double, ResidualStack, Upsample

__all__ = ["Decoder", "build_decoder", "decode_vectors"]

_DETAIL_BLOCKS = 3  # at each size


class Decoder(nn.Module):
    """A second decoder for the codes of a tokenizer. Shape and names of its weights are those of the tokenizer's own.

    ::

        vectors of the upper levels ── to_bottom ──┐
        vectors of the bottom ──────────────── concatenate ─┬─ decoder ── add ═ image
                                                            └─ details ────┘
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.to_bottom, self.decoder, self.details = build_decoder(config.tokenizer_config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """Decode the vectors `(B, D, h, w)` of all levels, top first, into images `(B, C, H, W)`, about [-1, 1]."""
        return decode_vectors(self, vectors)


class HasDecoder(Protocol):
    """What has the parts of `build_decoder`."""

    to_bottom: nn.ModuleList
    decoder: nn.Sequential
    details: nn.Sequential | None


def build_decoder(config: VQVAE2Config) -> tuple[nn.ModuleList, nn.Sequential, nn.Sequential | None]:
    """Build what brings the vectors of each upper level to the grid of the bottom, and what turns all into pixels.

    The last is the branch for details, if the config has one.
    """
    hidden, dim, reductions = config.hidden_channels, config.quantizer.embedding_dim, config.reductions
    to_bottom = nn.ModuleList(Upsample(dim, dim, dim, reduction // reductions[-1]) for reduction in reductions[:-1])
    decoder = nn.Sequential(
        nn.Conv2d(config.num_levels * dim, hidden, 3, padding=1),
        ResidualStack(hidden, config.residual_channels, config.residual_layers),
        Upsample(hidden, hidden // 2, config.in_channels, config.strides[0]),
    )
    return to_bottom, decoder, _build_details(config) if config.detail_channels else None


def _build_details(config: VQVAE2Config) -> nn.Sequential:
    """Build a branch with residual blocks at each size up to half of the pixels'. It begins by adding nothing.

    Its last convolution gives four values a channel, which become 2x2 pixels (Shi et al. 2016): blocks at the size of
    the pixels would take most of the time.
    """
    channels, stride = config.detail_channels, config.strides[0]
    layers: list[nn.Module] = [
        nn.Conv2d(config.num_levels * config.quantizer.embedding_dim, channels, 3, padding=1),
        ResidualStack(channels, channels // 2, _DETAIL_BLOCKS),
    ]
    while stride > 2:
        stride, narrower = stride // 2, channels // 2
        layers += [
            Double(channels, narrower),
            ResidualStack(narrower, narrower // 2, _DETAIL_BLOCKS),
        ]
        channels = narrower
    to_pixels = nn.Conv2d(channels, 4 * config.in_channels, 3, padding=1)
    for parameter in to_pixels.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(*layers, to_pixels, nn.PixelShuffle(2))


def decode_vectors(parts: HasDecoder, vectors: Sequence[Tensor]) -> Tensor:
    """Decode with the parts of `build_decoder`, see `Decoder`."""
    upsampled = [module(level) for module, level in zip(parts.to_bottom, vectors[:-1], strict=True)]
    joined = torch.cat((*upsampled, vectors[-1]), dim=1)
    images: Tensor = parts.decoder(joined)
    return images if parts.details is None else images + parts.details(joined)
