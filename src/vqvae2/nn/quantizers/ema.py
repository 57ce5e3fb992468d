"""Vector quantization with a codebook that follows the encoder by moving averages.

Shapes: D embedding length, N vectors, K codes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vqvae2.config import EMAConfig
from vqvae2.nn.quantizers.codebook import CodebookQuantizer

__all__ = ["EMAQuantizer"]

_EPSILON = 1e-5  # of the Laplace smoothing


class EMAQuantizer(CodebookQuantizer):
    """Nearest-neighbour quantizer whose codebook is an exponential moving average of the encoder's outputs.

    In training, `forward` only collects counts and sums, and `update` applies them once per optimizer step. So
    accumulated gradients and accumulated statistics belong to the same step. No step waits for the device.

    With the counts `n` and sums `s` of a step, and decay `g` (Razavi et al. 2019, sec. 2.1, after van den Oord et al.
    2017, appendix A.1; Laplace smoothing as in DeepMind's Sonnet)::

        N <- g N + (1 - g) n        m <- g m + (1 - g) s        codebook = m / smoothed(N)

    A code starts and restarts in all three buffers: with N = 1 from the initial outputs, and with the N of an average
    code when it is revived.
    """

    average_sum: Tensor
    step_sum: Tensor

    def __init__(self, config: EMAConfig) -> None:
        super().__init__(config, decay=config.decay)
        codebook = self._random_codebook()
        self.register_buffer("codebook", codebook)
        self.register_buffer("average_sum", codebook.clone())
        self.register_buffer("step_sum", torch.zeros_like(codebook), persistent=False)

    def _loss(self, features: Tensor, vectors: Tensor) -> Tensor:
        return self.commitment_cost * functional.mse_loss(features, vectors)

    def _collect(self, features: Tensor, codes: Tensor) -> None:
        super()._collect(features, codes)
        self.step_sum.index_add_(0, codes, features)

    def _statistics(self) -> list[Tensor]:
        return [*super()._statistics(), self.step_sum]

    def _move_codebook(self) -> None:
        self.average_sum.lerp_(self.step_sum, 1.0 - self.decay)
        # Laplace smoothing keeps the count of an unused code above 0, and the sum of all counts.
        total = self.average_count.sum()
        smoothed = (self.average_count + _EPSILON) / (total + self.num_embeddings * _EPSILON) * total
        self.codebook.copy_(self.average_sum / smoothed[:, None])
        self.step_sum.zero_()

    def _restart(self, chosen: Tensor, vectors: Tensor, *, count: Tensor | float) -> None:
        super()._restart(chosen, vectors, count=count)
        self.average_sum.copy_(torch.where(chosen[:, None], vectors * count, self.average_sum))
