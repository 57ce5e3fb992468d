"""`Codes`, the one type that travels between tokenizer, priors, files and coders.

Shapes: B images, h x w code grid of one level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Codes"]


@dataclass(frozen=True, eq=False)
class Codes:
    """The discrete codes of a batch of images, one map per level, coarsest first.

    Args:
        maps: One int64 tensor `(B, h, w)` per level; index 0 is the top, the coarsest level. Values are in 0..K-1 of
            that level's codebook.

    Raises:
        ValueError: If there is no level, a map is not int64 of rank 3, or batch sizes differ.
    """

    maps: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if not self.maps:
            raise ValueError("`maps` must hold at least one level, got none")
        for level, codes in enumerate(self.maps):
            if codes.dtype != torch.int64 or codes.ndim != 3:
                raise ValueError(
                    f"`maps[{level}]` must be int64 of shape (B, h, w), got {codes.dtype} of shape {tuple(codes.shape)}"
                )
        sizes = [codes.shape[0] for codes in self.maps]
        if any(size != sizes[0] for size in sizes[1:]):  # not by a set: while exported, sizes are symbols
            raise ValueError(f"`maps` must share one batch size, got {sorted(set(sizes))}")

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, level: int) -> Tensor:
        return self.maps[level]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.maps)

    @property
    def batch_size(self) -> int:
        return self.maps[0].shape[0]

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Grid `(h, w)` of every level, top first."""
        return tuple((codes.shape[1], codes.shape[2]) for codes in self.maps)

    def to(self, device: torch.device | str) -> Codes:
        return Codes(tuple(codes.to(device) for codes in self.maps))

    def select(self, images: slice | Tensor) -> Codes:
        """Take some images of the batch, by slice or by an index tensor `(n,)`."""
        return Codes(tuple(codes[images] for codes in self.maps))

    @staticmethod
    def concatenate(batches: Sequence[Codes]) -> Codes:
        """Join batches of equal shapes along the image axis."""
        return Codes(tuple(torch.cat(level) for level in zip(*(codes.maps for codes in batches), strict=True)))


torch.export.register_dataclass(Codes)  # so that graphs take and return them
