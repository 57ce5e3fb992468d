"""The interface of priors, and the parts that all priors share.

Shapes: B images, h x w code grid, K codes, C channels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vqvae2.config import CodeSpace, PriorConfig
from vqvae2.nn.causal import AttendedPositions
from vqvae2.nn.residual import ResidualStack

__all__ = ["Conditioning", "Prior", "PriorState"]


class PriorState(ABC):
    """A prior in the middle of a walk.

    Start rows in order, and visit the positions of a row in order: step, then observe, then the next position. Columns
    are tensors, int64 `(1,)` on the device of the prior, and all buffers stay in place, so that `step` can be captured
    as a CUDA graph or compiled. A step may be repeated before it is observed.
    """

    def __init__(self, conditioning: Tensor) -> None:
        _, height, width, _ = conditioning.shape
        self._conditioning = conditioning.permute(1, 2, 0, 3).contiguous()  # (h, w, B, C)
        self._row = torch.zeros_like(self._conditioning[0])
        self._positions = AttendedPositions((height, width), like=conditioning)

    def start_row(self, row: int) -> None:
        """Compute what a row needs from the rows before it."""
        self._row.copy_(self._conditioning[row])
        self._positions.start_row(row)

    @abstractmethod
    def step(self, column: Tensor) -> Tensor:
        """Compute the logits `(B, K)` of a column of the current row."""

    @abstractmethod
    def observe(self, column: Tensor, codes: Tensor) -> None:
        """Record the codes `(B,)` that were chosen at that column."""

    @property
    def variant(self) -> int:
        """Tells apart rows whose steps differ in shapes; a captured step serves the rows of its variant."""
        return self._positions.length

    def _conditioning_at(self, column: Tensor) -> Tensor:
        """Return the features `(B, C)` of a column of the row."""
        return self._row.index_select(0, column)[0]


class Prior(nn.Module, ABC):
    """Autoregressive distribution over one level's codes, given the levels above and perhaps a class.

    Two paths, one law: `forward` computes the logits of all positions at once, for training and likelihoods; `start`
    begins a walk that computes the same logits position by position. No logit depends on its own or a later code, in
    raster order.
    """

    conditioning: Conditioning

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def space(self) -> CodeSpace:
        return self.config.space

    @property
    def num_embeddings(self) -> int:
        """K of the prior's level."""
        return self.space.num_embeddings[-1]

    @abstractmethod
    def forward(self, codes: Tensor, *, above: Sequence[Tensor] = (), labels: Tensor | None = None) -> Tensor:
        """Compute the logits of all positions.

        Args:
            codes: int64 `(B, h, w)` in 0..K-1.
            above: The codes of each level above, top first, int64 `(B, h / f, w / f)` with its factor `f`.
            labels: int64 `(B,)` in 0..num_classes-1, or num_classes for "no class"; None means "no class" for all.

        Returns:
            `(B, h, w, K)`, not normalized.

        Raises:
            ValueError: If a shape or a label does not fit.
        """

    def start(
        self, batch_size: int, size: tuple[int, int], *, above: Sequence[Tensor] = (), labels: Tensor | None = None
    ) -> PriorState:
        """Begin a walk over a grid `size = (h, w)`; `above` and `labels` as for `forward`."""
        conditioning = self.conditioning.grid(batch_size, size, above)
        return self._begin(conditioning, self.conditioning.labels(batch_size, labels))

    @abstractmethod
    def _begin(self, conditioning: Tensor, label: Tensor | None) -> PriorState:
        """Begin a walk with the features of `Conditioning`, `(B, h, w, C)` and `(B, C)`."""


class Conditioning(nn.Module):
    """What a prior knows before the first code: levels above, class, position.

    ::

        codes of each level above ── embed ── upsample ── sum ── residual stack ──┐
        row and column, as Fourier features ── linear ────────────────────────────┴─ + ─ (B, h, w, C)
        class ── embed ── (B, C)

    It is computed once per level, for all positions.
    """

    _FREQUENCIES = 4

    def __init__(self, space: CodeSpace, channels: int, *, num_layers: int) -> None:
        super().__init__()
        self.space = space
        self.position = nn.Linear(4 * self._FREQUENCIES, channels)
        self.above = nn.ModuleList(nn.Embedding(size, channels) for size in space.num_embeddings[:-1])
        self.stack = ResidualStack(channels, channels, num_layers) if space.level and num_layers else nn.Identity()
        self.label = nn.Embedding(space.num_classes + 1, channels) if space.num_classes else None
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def grid(self, batch_size: int, size: tuple[int, int], above: Sequence[Tensor]) -> Tensor:
        """Compute features `(B, h, w, C)` of the levels above and the positions."""
        factors = self.space.upsampling
        if len(above) != len(factors):
            raise ValueError(f"`above` must hold the codes of {len(factors)} levels, got {len(above)}")
        for index, (codes, factor) in enumerate(zip(above, factors, strict=True)):
            wanted = (batch_size, size[0] // factor, size[1] // factor)
            if tuple(codes.shape) != wanted or size[0] % factor or size[1] % factor:
                raise ValueError(
                    f"`above[{index}]` must be of shape {wanted}, 1/{factor} of the grid {size}, "
                    f"got {tuple(codes.shape)}"
                )
        features: Tensor = self.position(self._fourier(*size)).expand(batch_size, -1, -1, -1)
        if not above:
            return features
        summed = torch.zeros_like(features)
        for embedding, codes, factor in zip(self.above, above, factors, strict=True):
            summed = summed + embedding(codes).repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        stacked: Tensor = self.stack(summed.permute(0, 3, 1, 2))
        return features + stacked.permute(0, 2, 3, 1)

    def labels(self, batch_size: int, labels: Tensor | None) -> Tensor | None:
        """Embed the classes: features `(B, C)`; None for an unconditional prior."""
        num_classes = self.space.num_classes
        if self.label is None:
            if labels is not None:
                raise ValueError("`labels` must be None for a prior without classes, got a tensor")
            return None
        if labels is None:
            labels = torch.full((batch_size,), num_classes, device=self.label.weight.device)
        if labels.shape != (batch_size,):
            raise ValueError(f"`labels` must be of shape ({batch_size},), got {tuple(labels.shape)}")
        features: Tensor = self.label(labels)
        return features

    def _fourier(self, height: int, width: int) -> Tensor:
        """Compute sines and cosines `(h, w, 4 F)` of each position; the grid spans 1/2 to 4 periods."""
        weight = self.position.weight
        angles = 2.0 ** torch.arange(self._FREQUENCIES, device=weight.device, dtype=weight.dtype) * math.pi
        axes = []
        for length in (height, width):
            place = (torch.arange(length, device=weight.device, dtype=weight.dtype) + 0.5) / length
            axes.append(torch.cat(((place[:, None] * angles).sin(), (place[:, None] * angles).cos()), dim=1))
        rows = axes[0][:, None].expand(height, width, -1)
        return torch.cat((rows, axes[1][None].expand(height, width, -1)), dim=-1)
