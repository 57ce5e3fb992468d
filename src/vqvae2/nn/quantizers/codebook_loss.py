"""Vector quantization with a codebook that learns by gradient.

Shapes: D embedding length, N vectors, K codes.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import CodebookLossConfig
from vqvae2.nn.quantizers.codebook import CodebookQuantizer

__all__ = ["CodebookLossQuantizer"]

_COUNT_DECAY = 0.99  # usage is averaged over as many steps as in the paper's EMA codebook


class CodebookLossQuantizer(CodebookQuantizer):
    """Nearest-neighbour quantizer whose codebook is a parameter.

    The loss is the paper's as written (Razavi et al. 2019, eq. 2)::

        loss = codebook_cost ||sg[E(x)] - e||^2 + commitment_cost ||sg[e] - E(x)||^2
    """

    def __init__(self, config: CodebookLossConfig) -> None:
        super().__init__(config, decay=_COUNT_DECAY)
        self.codebook_cost = config.codebook_cost
        self.codebook = nn.Parameter(self._random_codebook())

    def _loss(self, features: Tensor, vectors: Tensor) -> Tensor:
        codebook_loss = functional.mse_loss(vectors, features.detach())
        commitment_loss = functional.mse_loss(features, vectors.detach())
        return self.codebook_cost * codebook_loss + self.commitment_cost * commitment_loss
