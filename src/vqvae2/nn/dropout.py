"""Dropout whose masks cost little on a CPU: a few random bits for each value, instead of a random number."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Dropout", "random_mask"]

_BITS = 16  # of randomness for each value: rates are rounded to 1/65536
_LARGEST = 2 ** (_BITS - 1) - 1


class Dropout(nn.Module):
    """Set values to 0 at a rate in [0, 1), and scale the others to the same mean (Srivastava et al. 2014)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return features
        if features.device.type != "cpu":
            return functional.dropout(features, self.rate)
        mask = random_mask(features.shape, self.rate, features.device).to(features.dtype)
        return features * mask.mul_(1.0 / (1.0 - self.rate))


def random_mask(shape: Sequence[int], rate: float, device: torch.device) -> Tensor:
    """Draw a mask, bool, in which a share of about `rate`, in [0, 1), is false."""
    if device.type != "cpu":
        return torch.rand(*shape, device=device) >= rate
    count = prod(shape)
    words = torch.empty(-(-count * _BITS // 64), dtype=torch.int64).random_(-(2**63), None)
    threshold = round(rate * 2**_BITS) - _LARGEST - 1
    return words.view(torch.int16)[:count].view(shape) >= min(threshold, _LARGEST)
