"""What every quantizer offers, and how gradients pass one.

Shapes: B images, D embedding length, h x w grid, N = B h w vectors, K codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Quantized", "Quantizer", "rotate", "straight_through"]


class Quantized(NamedTuple):
    """What quantizing `(B, D, h, w)` gives."""

    vectors: Tensor
    """float32 `(B, D, h, w)`: the vectors of the codes; their gradient reaches the input."""
    codes: Tensor
    """int64 `(B, h, w)` in 0..K-1."""
    loss: Tensor
    """Scalar: what the quantizer adds to the training loss, weighted."""


class Quantizer(nn.Module, ABC):
    """Turns features into codes. Everything is float32 under any autocast; evaluation changes nothing."""

    num_embeddings: int
    """K."""
    embedding_dim: int
    """D."""

    @abstractmethod
    def forward(self, features: Tensor) -> Quantized:
        """Quantize encoder outputs `(B, D, h, w)`; while training, collect what `update` needs."""

    @abstractmethod
    def embed(self, codes: Tensor) -> Tensor:
        """Look codes `(B, h, w)` up: float32 `(B, D, h, w)`, the vectors that `forward` gives with them."""

    @torch.no_grad()
    def initialize(self, features: Tensor) -> None:
        """Start from encoder outputs `(B, D, h, w)`, before the first step."""

    @torch.no_grad()
    def update(self) -> None:
        """Do what follows each optimizer step, with what all processes collected since the last one."""


def straight_through(features: Tensor, vectors: Tensor) -> Tensor:
    """Give `vectors`, whose gradient goes to `features`, of the same shape, as it is (Bengio et al. 2013)."""
    passed: Tensor = _StraightThrough.apply(features, vectors)
    return passed


def rotate(features: Tensor, vectors: Tensor) -> Tensor:
    """Give `vectors`, whose gradient goes to `features` through the rotation and scaling that connects them.

    The vector is seen as a fixed rotation and scaling of its feature, so the angle between gradient and vector
    becomes that between gradient and feature (Fifty et al. 2024, sec. 4). Both `(N, D)`.
    """
    passed: Tensor = _Rotate.apply(features, vectors)
    return passed


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, vectors: Tensor) -> Tensor:
        return vectors.view_as(vectors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, vectors: Tensor) -> Tensor:
        ctx.save_for_backward(features, vectors)
        return vectors.view_as(vectors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        features, vectors = ctx.saved_tensors
        gradient = gradients[0]
        # q = s R e with R = I - 2 r r' + 2 v u', u and v the directions of e and q, r that of their sum. Transposed:
        u, v = functional.normalize(features, dim=1), functional.normalize(vectors, dim=1)
        r = functional.normalize(u + v, dim=1)
        scale = vectors.norm(dim=1, keepdim=True) / features.norm(dim=1, keepdim=True).clamp_min(1e-6)
        along_r = (gradient * r).sum(dim=1, keepdim=True)
        along_v = (gradient * v).sum(dim=1, keepdim=True)
        return scale * (gradient - 2.0 * along_r * r + 2.0 * along_v * u), None
