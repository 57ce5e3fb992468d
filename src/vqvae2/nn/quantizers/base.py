"""The interface of quantizers, and how gradients pass them.

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
    """The result of quantizing features `(B, D, h, w)`."""

    vectors: Tensor
    """float32 `(B, D, h, w)`: the vectors of the codes. Their gradient reaches the features."""
    codes: Tensor
    """int64 `(B, h, w)` in 0..K-1."""
    loss: Tensor
    """Scalar: the quantizer's part of the training loss, weighted."""


class Quantizer(nn.Module, ABC):
    """Turns features into codes, in float32 under any autocast. Evaluation changes no state."""

    num_embeddings: int
    """K."""
    embedding_dim: int
    """D."""

    @abstractmethod
    def forward(self, features: Tensor) -> Quantized:
        """Quantize encoder outputs `(B, D, h, w)`. In training, collect statistics for `update`."""

    @abstractmethod
    def encode(self, features: Tensor) -> Tensor:
        """Compute only the codes of encoder outputs `(B, D, h, w)`: int64 `(B, h, w)`, as `forward` returns them."""

    @abstractmethod
    def embed(self, codes: Tensor) -> Tensor:
        """Look up the vectors of codes `(B, h, w)`: float32 `(B, D, h, w)`, as `forward` returns them."""

    @torch.no_grad()
    def initialize(self, features: Tensor) -> None:
        """Start from encoder outputs `(B, D, h, w)`, before the first step."""

    @torch.no_grad()
    def update(self) -> None:
        """Apply what all processes collected since the last optimizer step; call it after each step."""


def straight_through(features: Tensor, vectors: Tensor) -> Tensor:
    """Return `vectors`; their gradient goes unchanged to `features`, of the same shape (Bengio et al. 2013)."""
    passed: Tensor = _StraightThrough.apply(features, vectors)
    return passed


def rotate(features: Tensor, vectors: Tensor) -> Tensor:
    """Return `vectors`; their gradient goes to `features` through the rotation and scaling between them.

    A vector counts as a fixed rotation and scaling of its feature, so the gradient keeps its angle: to the feature as
    to the vector (Fifty et al. 2024, sec. 4). Both are `(N, D)`.
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
        # The vector is q = s R e of its feature e, with R = I - 2 r r' + 2 v u', where u and v are the directions of e
        # and q, and r that of their sum. The gradient is multiplied by s R'.
        u, v = functional.normalize(features, dim=1), functional.normalize(vectors, dim=1)
        r = functional.normalize(u + v, dim=1)
        scale = vectors.norm(dim=1, keepdim=True) / features.norm(dim=1, keepdim=True).clamp_min(1e-6)
        along_r = (gradient * r).sum(dim=1, keepdim=True)
        along_v = (gradient * v).sum(dim=1, keepdim=True)
        return scale * (gradient - 2.0 * along_r * r + 2.0 * along_v * u), None
