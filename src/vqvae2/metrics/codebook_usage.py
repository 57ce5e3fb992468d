"""How much of a codebook is in use."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["CodebookUsage"]


class CodebookUsage:
    """Count codes over an epoch.

    One batch says little: it cannot use more codes than it has positions. Counts are kept on the device of the codes,
    so that counting does not wait for it.
    """

    def __init__(self, num_embeddings: int) -> None:
        self.counts = torch.zeros(num_embeddings, dtype=torch.int64)
        """int64 `(K,)`: how often each code was seen."""

    def update(self, codes: Tensor) -> None:
        """Count codes of any shape, int64 in 0..K-1."""
        self.counts, flat = self.counts.to(codes.device), codes.flatten()
        self.counts.index_add_(0, flat, self.counts.new_ones(()).expand(flat.shape))

    def merge(self, other: CodebookUsage) -> None:
        """Add the counts of another object, for the same codebook and on the same device."""
        self.counts += other.counts

    @property
    def usage(self) -> float:
        """Share of the codes seen at least once, 0..1."""
        return (self.counts > 0).float().mean().item()

    @property
    def dead_codes(self) -> int:
        """Number of codes that were never seen."""
        return int((self.counts == 0).sum())

    @property
    def perplexity(self) -> float:
        """Exponential of the entropy of the code frequencies, 1..K: how many equally used codes would be as varied."""
        counts = self.counts.cpu().double()
        frequencies = counts / counts.sum().clamp(min=1.0)
        return torch.special.entr(frequencies).sum().exp().item()

    def to_dict(self) -> dict[str, float]:
        """Give all three measures by name."""
        return {"usage": self.usage, "perplexity": self.perplexity, "dead_codes": self.dead_codes}
