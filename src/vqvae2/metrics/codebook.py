"""How much of a codebook is in use."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["CodebookUsage"]


class CodebookUsage:
    """Count codes over an epoch.

    A single batch says little: it cannot use more codes than it has positions.

    Args:
        num_embeddings: K.
        device: Where the counts are kept; that of the codes, so that counting does not wait for the device.
    """

    def __init__(self, num_embeddings: int, *, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(num_embeddings, dtype=torch.int64, device=device)
        """int64 `(K,)`: how often each code was seen."""

    def update(self, codes: Tensor) -> None:
        """Count codes of any shape, int64 in 0..K-1."""
        self.counts += torch.bincount(codes.flatten(), minlength=self.counts.shape[0])

    @property
    def usage(self) -> float:
        """Share of the codes seen at least once, 0..1."""
        return (self.counts > 0).double().mean().item()

    @property
    def perplexity(self) -> float:
        """Exponential of the entropy of the code frequencies, 1..K: how many equally used codes would be as varied."""
        total = self.counts.sum().clamp(min=1)
        frequencies = self.counts.double() / total
        return torch.special.entr(frequencies).sum().exp().item()
