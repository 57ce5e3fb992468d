"""From the vectors of codes to pixels: the end of a tokenizer, and a second decoder in its place.

Shapes: B images, C channels, H x W pixels, h x w code grid of a level, D embedding length. Level 0 is the top.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vqvae2.config import DecoderConfig, VQVAE2Config
from vqvae2.nn.residual import ResidualStack, Upsample

__all__ = ["Decoder", "build_decoder", "decode_vectors"]


class Decoder(nn.Module):
    """A second decoder for the codes of a tokenizer. Shape and names of its weights are those of the tokenizer's own.

    ::

        vectors of the upper levels ── to_bottom ──┐
        vectors of the bottom ──────────────── concatenate ── decoder ═ image
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.to_bottom, self.decoder = build_decoder(config.tokenizer_config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """Decode the vectors `(B, D, h, w)` of all levels, top first, into images `(B, C, H, W)`, about [-1, 1]."""
        return decode_vectors(self.to_bottom, self.decoder, vectors)


def build_decoder(config: VQVAE2Config) -> tuple[nn.ModuleList, nn.Sequential]:
    """Build what brings the vectors of each upper level to the grid of the bottom, and what turns all into pixels."""
    hidden, dim, reductions = config.hidden_channels, config.quantizer.embedding_dim, config.reductions
    to_bottom = nn.ModuleList(Upsample(dim, dim, dim, reduction // reductions[-1]) for reduction in reductions[:-1])
    decoder = nn.Sequential(
        nn.Conv2d(config.num_levels * dim, hidden, 3, padding=1),
        ResidualStack(hidden, config.residual_channels, config.residual_layers),
        Upsample(hidden, hidden // 2, config.in_channels, config.strides[0]),
    )
    return to_bottom, decoder


def decode_vectors(to_bottom: nn.ModuleList, decoder: nn.Sequential, vectors: Sequence[Tensor]) -> Tensor:
    """Decode with the two parts of `build_decoder`, see `Decoder`."""
    upsampled = [module(level) for module, level in zip(to_bottom, vectors[:-1], strict=True)]
    images: Tensor = decoder(torch.cat((*upsampled, vectors[-1]), dim=1))
    return images
