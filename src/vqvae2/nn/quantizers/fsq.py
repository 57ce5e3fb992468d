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
    """Round each of few dimensions to a few values; a code is the number that the values spell (Mentzer et al. 2023).

    Each feature is squeezed into (-1, 1) by tanh and falls into one of `num_values` cells. Unlike in that paper,
    all cells are equally wide, so that the outer values are not rarer by construction. Codes are vectors in
    [-1, 1]; there is nothing to learn, to collapse, or to add to the loss.
    """

    counts: Tensor
    bases: Tensor
    widths: Tensor

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        self.num_embeddings = config.num_embeddings
        self.embedding_dim = config.embedding_dim
        bases = [math.prod(config.num_values[:index]) for index in range(self.embedding_dim)]
        # As (D, 1, 1), beside feature maps.
        self.register_buffer("counts", torch.tensor(config.num_values)[:, None, None], persistent=False)
        self.register_buffer("bases", torch.tensor(bases)[:, None, None], persistent=False)
        self.register_buffer("widths", 2.0 / (self.counts - 1), persistent=False)

    def forward(self, features: Tensor) -> Quantized:
        with torch.autocast(features.device.type, enabled=False):
            squeezed = features.to(self.widths.dtype).tanh()
            cells = ((squeezed.detach() + 1.0) * 0.5 * self.counts).long().minimum(self.counts - 1)
            codes = (cells * self.bases).sum(dim=1)
            return Quantized(straight_through(squeezed, self._values(cells)), codes, squeezed.new_zeros(()))

    def embed(self, codes: Tensor) -> Tensor:
        return self._values(codes[:, None] // self.bases % self.counts)

    def _values(self, cells: Tensor) -> Tensor:
        """Place cells `(B, D, h, w)`, int64, in [-1, 1]."""
        return cells * self.widths - 1.0
