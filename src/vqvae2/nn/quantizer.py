"""Vector quantization with a codebook that follows the encoder by moving averages.

Shapes: B images, D embedding length, h x w grid, N = B h w vectors, K codes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["EMAQuantizer", "Quantized"]

_VECTORS_AT_ONCE = 65_536  # bounds the matrix of scores, 128 MiB at K = 512


class Quantized(NamedTuple):
    """What quantizing `(B, D, h, w)` gives."""

    vectors: Tensor
    """float32 `(B, D, h, w)`: the nearest codebook vectors; their gradient passes straight to the input."""
    codes: Tensor
    """int64 `(B, h, w)` in 0..K-1."""
    commitment_loss: Tensor
    """Scalar: mean squared distance from the input to its (fixed) codebook vectors."""


class EMAQuantizer(nn.Module):
    """Nearest-neighbour quantizer whose codebook is an exponential moving average of the encoder's outputs.

    A training forward only collects counts and sums; `update` applies them, once per optimizer step, so that
    accumulated gradients and accumulated statistics belong to the same step. Everything is in the codebook's own
    type, float32, under any autocast, and no step waits for the device. Evaluation never moves the codebook.

    With counts `n`, sums `s` of a step and decay `g` (Razavi et al. 2019, sec. 2.1, after van den Oord et al.
    2017, appendix A.1; Laplace smoothing with `epsilon` as in DeepMind's Sonnet)::

        N <- g N + (1 - g) n        m <- g m + (1 - g) s        codebook = m / smoothed(N)

    A code whose N falls under `revival_threshold` of uniform use restarts from an encoder output of the last
    batch, in all three buffers, with the N of an average code (random restarts: Dhariwal et al. 2020, Jukebox).

    Args:
        num_embeddings: K.
        embedding_dim: D.
        decay: g, per optimizer step.
        revival_threshold: Fraction of uniform use; 0 never revives.
        epsilon: Laplace smoothing.
    """

    codebook: Tensor
    average_count: Tensor
    average_sum: Tensor
    step_count: Tensor
    step_sum: Tensor
    candidates: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        decay: float = 0.99,
        revival_threshold: float = 0.1,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.decay = decay
        self.revival_threshold = revival_threshold
        self.epsilon = epsilon
        codebook = torch.randn(num_embeddings, embedding_dim) / embedding_dim**0.5
        self.register_buffer("codebook", codebook)
        self.register_buffer("average_count", torch.ones(num_embeddings))
        self.register_buffer("average_sum", codebook.clone())
        # Statistics of the running step: never saved, since checkpoints are taken between steps.
        self.register_buffer("step_count", torch.zeros(num_embeddings), persistent=False)
        self.register_buffer("step_sum", torch.zeros_like(codebook), persistent=False)
        self.register_buffer("candidates", codebook.clone(), persistent=False)

    @property
    def num_embeddings(self) -> int:
        return self.codebook.shape[0]

    def forward(self, features: Tensor) -> Quantized:
        """Quantize encoder outputs `(B, D, h, w)`; while training, collect statistics for `update`."""
        with torch.autocast(features.device.type, enabled=False):
            grid = features.to(self.codebook.dtype).permute(0, 2, 3, 1)  # (B, h, w, D)
            flat = grid.reshape(-1, grid.shape[-1])  # (N, D)
            codes = self.nearest(flat.detach())
            if self.training:
                self._collect(flat.detach(), codes)
            vectors = functional.embedding(codes, self.codebook)
            commitment_loss = functional.mse_loss(flat, vectors)
            vectors = (flat + (vectors - flat).detach()).view(grid.shape)
            return Quantized(vectors.permute(0, 3, 1, 2), codes.view(grid.shape[:3]), commitment_loss)

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """Find the nearest code of each vector `(N, D)`: int64 `(N,)`. The lowest index wins a tie."""
        # argmin |v - e|^2 = argmax v.e - |e|^2 / 2: a matrix product, no N x K x D differences
        half_norms = self.codebook.square().sum(dim=1).mul_(0.5)
        parts = vectors.split(_VECTORS_AT_ONCE)
        scores = (torch.addmm(half_norms, part, self.codebook.t(), beta=-1.0) for part in parts)
        return torch.cat([score.argmax(dim=1) for score in scores])

    def embed(self, codes: Tensor) -> Tensor:
        """Look codes `(B, h, w)` up: float32 `(B, D, h, w)`."""
        return functional.embedding(codes, self.codebook).permute(0, 3, 1, 2)

    @torch.no_grad()
    def initialize(self, features: Tensor) -> None:
        """Start from encoder outputs `(B, D, h, w)`: K of them drawn at random, with N = 1 and m = e.

        They are drawn without replacement, unless there are fewer than K.

        Starting from N = 0 and random vectors instead throws away every code that the first batch misses.
        """
        vectors = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        distinct = torch.randperm(len(vectors), device=vectors.device)[: self.num_embeddings]
        self.codebook.copy_(vectors[distinct] if len(distinct) == self.num_embeddings else self._draw(vectors))
        self.average_count.fill_(1.0)
        self.average_sum.copy_(self.codebook)

    @torch.no_grad()
    def update(self) -> None:
        """Move the codebook by the statistics collected since the last call, then revive unused codes."""
        self.average_count.lerp_(self.step_count, 1.0 - self.decay)
        self.average_sum.lerp_(self.step_sum, 1.0 - self.decay)
        total = self.average_count.sum()
        smoothed = (self.average_count + self.epsilon) / (total + self.num_embeddings * self.epsilon) * total
        self.codebook.copy_(self.average_sum / smoothed[:, None])
        if self.revival_threshold > 0.0:
            self._revive(total / self.num_embeddings)
        self.step_count.zero_()
        self.step_sum.zero_()

    def _collect(self, vectors: Tensor, codes: Tensor) -> None:
        # Not `bincount`: on a GPU it waits for the device, to learn the size of its result.
        self.step_count.index_add_(0, codes, self.step_count.new_ones(()).expand(codes.shape))
        self.step_sum.index_add_(0, codes, vectors)
        if self.revival_threshold > 0.0:
            self.candidates.copy_(self._draw(vectors))

    def _draw(self, vectors: Tensor) -> Tensor:
        return vectors[torch.randint(vectors.shape[0], (self.num_embeddings,), device=vectors.device)]

    def _revive(self, uniform_count: Tensor) -> None:
        dead = self.average_count < self.revival_threshold * uniform_count
        self.average_count.copy_(torch.where(dead, uniform_count, self.average_count))
        self.codebook.copy_(torch.where(dead[:, None], self.candidates, self.codebook))
        self.average_sum.copy_(torch.where(dead[:, None], self.candidates * uniform_count, self.average_sum))
