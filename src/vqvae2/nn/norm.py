"""Normalization over channels."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["RMSNorm"]


class RMSNorm(nn.RMSNorm):
    """Root mean square norm over the last axis, computed in the type of its weight under any autocast.

    The residual stream that it reads may be bfloat16; its statistics should not be, and torch's fused kernel
    wants input and weight of one type.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))
