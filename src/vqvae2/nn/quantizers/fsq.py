"""Finite scalar quantization.

Shapes: B images, D dimensions, h x w grid, K codes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vqvae2.config import FSQConfig
from vqvae2.nn.quantizers.base import Quantized, Quantizer, straight_through

__all__ = ["FSQuantizer"]


class FSQuantizer(Quantizer):
    """Round each of few dimensions to few values, the digits of the code (Mentzer et al. 2023).

    A tanh squeezes each feature into (-1, 1), where it falls into one of `num_values` cells. Unlike in that paper, all
    cells are equally wide, so the outer values are not rarer by construction. Vectors lie in [-1, 1]. There
    is no codebook to learn, no collapse, and no loss.
    """

    counts: Tensor
    bases: Tensor
    widths: Tensor

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        self.num_embeddings = config.num_embeddings
        self.embedding_dim = config.embedding_dim
        bases = [math.prod(config.num_values[:index]) for index in range(self.embedding_dim)]
        # Shaped (D, 1, 1), to broadcast over feature maps.
        self.register_buffer("counts", torch.tensor(config.num_values)[:, None, None], persistent=False)
        self.register_buffer("bases", torch.tensor(bases)[:, None, None], persistent=False)
        self.register_buffer("widths", 2.0 / (self.counts - 1), persistent=False)

    def forward(self, features: Tensor) -> Quantized:
        with torch.autocast(features.device.type, enabled=False):
            squeezed = features.to(self.widths.dtype).tanh()
            cells = self._cells(squeezed)
            codes = (cells * self.bases).sum(dim=1)
            return Quantized(straight_through(squeezed, self._values(cells)), codes, squeezed.new_zeros(()))

    def encode(self, features: Tensor) -> Tensor:
        return (self._cells(features.to(self.widths.dtype).tanh()) * self.bases).sum(dim=1)

    def embed(self, codes: Tensor) -> Tensor:
        return self._values(codes[:, None] // self.bases % self.counts)

    def _cells(self, squeezed: Tensor) -> Tensor:
        """Number the cells that values in [-1, 1] fall into: int64 `(B, D, h, w)`."""
        return ((squeezed.detach() + 1.0) * 0.5 * self.counts).long().minimum(self.counts - 1)

    def _values(self, cells: Tensor) -> Tensor:
        """Place cells `(B, D, h, w)`, int64, in [-1, 1]."""
        return cells * self.widths - 1.0
