"""The interface of priors, and the parts that all priors share.

Shapes: B images, h x w code grid, L = h w positions, n positions of a front, K codes, C channels. Places are numbers in
the order of fronts, see `nn/fronts.py`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.codes import Codes
from vqvae2.config import CodeSpace, PriorConfig
from vqvae2.nn.causal import CausalConv2d, CausalConv2dWalk, Cursor
from vqvae2.nn.fronts import Fronts, front_numbers
from vqvae2.nn.residual import ResidualStack

__all__ = ["Conditioning", "Layers", "Prior", "PriorState", "code_nats"]

Layers = Callable[[Tensor], Tensor]
"""The layers of a walk: features of a front `(n B, C)`, which they may overwrite, to the same shape."""


class Prior(nn.Module, ABC):
    """Autoregressive distribution over one level's codes, given the levels above and perhaps a class.

    ::

        codes ── embed ── causal conv (not the position itself) ── + ──► layers of the family ── norm ── logits
        levels above, position ── Conditioning ────────────────────┘

    Two paths, one law: `forward` computes the logits of all positions at once, for training and likelihoods; `start`
    begins a walk that computes the same logits front by front. The logits of a front depend on the codes of earlier
    fronts only.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        network = config.network
        self.embedding = nn.Embedding(self.num_embeddings, network.hidden_channels)
        self.first = CausalConv2d(
            network.hidden_channels, network.hidden_channels, network.kernel_size, sees_center=False
        )
        self.conditioning = Conditioning(config.space, network.hidden_channels, num_layers=network.conditioning_layers)

    @property
    def space(self) -> CodeSpace:
        return self.config.space

    @property
    def num_embeddings(self) -> int:
        """K of the prior's level."""
        return self.space.num_embeddings[-1]

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
        batch_size, height, width = codes.shape
        given, label = self._condition(batch_size, (height, width), above, labels)
        return self.logits(self._apply_layers(self.first(self.embedding(codes)) + given, label))

    def start(
        self, batch_size: int, size: tuple[int, int], *, above: Sequence[Tensor] = (), labels: Tensor | None = None
    ) -> PriorState:
        """Begin a walk over a grid `size = (h, w)`; `above` and `labels` as for `forward`."""
        given, label = self._condition(batch_size, size, above, labels)
        fronts = Fronts(size, self.first.reach, device=given.device)
        cursor = Cursor(fronts, batch_size, like=given)
        return PriorState(self, cursor, given, self._walk_layers(cursor, label))

    def visible(self, grid: Tensor) -> Tensor:
        """Tell what attention sees at each position of `(B, h, w, C)`: bool `(L, L)`, itself and earlier fronts."""
        numbers = front_numbers((grid.shape[1], grid.shape[2]), self.first.reach, grid.device)
        return (numbers[:, None] > numbers).fill_diagonal_(True)

    def logits(self, features: Tensor) -> Tensor:
        """Compute the logits `(..., K)` of features `(..., C)` after the last layer."""
        logits: Tensor = self.to_logits(self.norm(features))
        return logits

    def _condition(
        self, batch_size: int, size: tuple[int, int], above: Sequence[Tensor], labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute what is known before the first code: features `(B, h, w, C)`, and those of the class, `(B, C)`."""
        label = self.conditioning.labels(batch_size, labels)
        return self.conditioning.grid(batch_size, size, above), label

    def _add_output(self) -> None:
        """Add what follows the last layer; training starts from the uniform distribution."""
        hidden = self.config.network.hidden_channels
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.to_logits = nn.Linear(hidden, self.num_embeddings)
        nn.init.zeros_(self.to_logits.weight)
        nn.init.zeros_(self.to_logits.bias)

    @abstractmethod
    def _apply_layers(self, grid: Tensor, label: Tensor | None) -> Tensor:
        """Apply all layers to features `(B, h, w, C)`, given those of the class, `(B, C)`."""

    @abstractmethod
    def _walk_layers(self, cursor: Cursor, label: Tensor | None) -> Layers:
        """Return the same layers for a walk."""


class PriorState:
    """A prior in the middle of a walk.

    Visit the fronts in order: step, then observe, then the next front. All buffers stay in place, so that a step can be
    captured as a CUDA graph. A step may be repeated before it is observed.
    """

    def __init__(self, prior: Prior, cursor: Cursor, given: Tensor, layers: Layers) -> None:
        self.fronts = cursor.fronts
        self._prior, self._cursor, self._layers = prior, cursor, layers
        self._first = CausalConv2dWalk([prior.first], cursor, bias=prior.first.bias[None, None])
        by_place = given.flatten(1, 2)[:, self.fronts.positions].transpose(0, 1)
        self._given = functional.pad(by_place, (0, 0, 0, 0, 0, 1))  # (L + 1, B, C)

    def step(self, places: Tensor, end: int) -> Tensor:
        """Compute the logits `(B, n, K)` of a front, given its places `(n,)`, where L pads it, and a place after it.

        Attention reads the places before `end`, which is L + 1 if the front is padded.
        """
        self._cursor.move(places, end)
        (features,) = self._first.known()
        features += self._given.index_select(0, places).flatten(0, 1)
        logits = self._prior.logits(self._layers(features))
        return logits.unflatten(0, (len(places), -1)).transpose(0, 1)

    def observe(self, places: Tensor, codes: Tensor) -> None:
        """Record the codes `(B, n)` that were chosen at a front."""
        self._first.write(places, self._prior.embedding(codes.t().flatten())[None])


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
        # In float64 on a CPU, torch unfolds a whole batch before it convolves it: three times slower than one by one.
        part_size = 1 if summed.dtype == torch.float64 and summed.device.type == "cpu" else batch_size
        stacked = torch.cat([self.stack(part) for part in summed.permute(0, 3, 1, 2).split(part_size)])
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


def code_nats(prior: nn.Module, codes: Codes, labels: Tensor | None) -> Tensor:
    """Compute the negative log-likelihood of each code of a prior's level, in nats, float32 `(B, h, w)`.

    Args:
        prior: A `Prior`, or what wraps one for training.
        codes: Of its level and those above.
        labels: See `Prior.forward`.
    """
    own = codes[-1]
    logits: Tensor = prior(own, above=codes.maps[:-1], labels=labels)
    return functional.cross_entropy(logits.float().flatten(0, 2), own.flatten(), reduction="none").view(own.shape)
