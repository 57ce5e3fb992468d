"""Transformer prior: causal attention over all earlier codes in raster order.

Razavi et al. 2019 remark that a transformer can replace the PixelCNN, as later work on the same two stages does. This
one normalizes before each branch, has rotary positions in two dimensions (Su et al. 2021), and query heads that share
keys and values (Shazeer 2019).

Shapes: B images, h x w code grid, L = h w positions, K codes, C hidden channels, F feed-forward channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import PriorConfig, TransformerConfig
from vqvae2.models.prior import Conditioning, Prior, PriorState
from vqvae2.nn.causal import CausalAttention, CausalAttentionWalk, rotations

__all__ = ["TransformerPrior"]


class TransformerBlock(nn.Module):
    """Norm, causal attention, added to the input; then norm, C to F, GELU, back to C, also added."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        hidden = config.hidden_channels
        self.attention_norm = nn.LayerNorm(hidden, bias=False)
        self.attention = CausalAttention(hidden, config.num_heads, config.num_kv_heads, dropout=config.dropout)
        self.feedforward_norm = nn.LayerNorm(hidden, bias=False)
        self.to_feedforward = nn.Linear(hidden, config.feedforward_channels)
        self.to_out = nn.Linear(config.feedforward_channels, hidden, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.to_out.weight)  # every block starts as the identity

    def forward(self, features: Tensor, rotation: Tensor) -> Tensor:
        attended = self.attention(self.attention_norm(features), rotation)
        return self.finish(features + self.dropout(attended))

    def finish(self, features: Tensor) -> Tensor:
        """Apply the feed-forward part, for all positions or for one: `(..., C)` to `(..., C)`."""
        inside = functional.gelu(self.to_feedforward(self.feedforward_norm(features)))
        out: Tensor = features + self.dropout(self.to_out(inside))
        return out


class TransformerPrior(Prior):
    """Prior of one level.

    ::

        class, code, code, ... (codes shifted by one position) ── embed ── + ──► blocks ── norm ── logits
        levels above, position ── Conditioning ────────────────────────────┘

    The class is the prefix: it takes the place of the code before the first position.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(config)
        network = config.network
        assert isinstance(network, TransformerConfig)
        hidden = network.hidden_channels
        self.embedding = nn.Embedding(self.num_embeddings, hidden)
        self.prefix = nn.Parameter(torch.randn(hidden))  # a class is added to it
        self.conditioning = Conditioning(config.space, hidden, num_layers=network.conditioning_layers)
        self.dropout = nn.Dropout(network.dropout)
        self.blocks = nn.ModuleList(TransformerBlock(network) for _ in range(network.num_layers))
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.to_logits = nn.Linear(hidden, self.num_embeddings)
        nn.init.zeros_(self.to_logits.weight)  # training starts from the uniform distribution
        nn.init.zeros_(self.to_logits.bias)

    def forward(self, codes: Tensor, *, above: Sequence[Tensor] = (), labels: Tensor | None = None) -> Tensor:
        batch_size, height, width = codes.shape
        start = self.start_features(batch_size, self.conditioning.labels(batch_size, labels))
        before = torch.cat((start[:, None], self.embedding(codes.flatten(1))), dim=1)
        conditioning = self.conditioning.grid(batch_size, (height, width), above).flatten(1, 2)
        features = self.dropout(before[:, :-1] + conditioning)
        rotation = self.rotations((height, width))
        for block in self.blocks:
            features = block(features, rotation)
        return self.logits(features).view(batch_size, height, width, -1)

    def _begin(self, conditioning: Tensor, label: Tensor | None) -> PriorState:
        return _TransformerState(self, conditioning, label)

    def start_features(self, batch_size: int, label: Tensor | None) -> Tensor:
        """Return the features `(B, C)` that stand before the first code, given those of the class."""
        return self.prefix.expand(batch_size, -1) if label is None else self.prefix + label

    def rotations(self, size: tuple[int, int]) -> Tensor:
        """Compute the rotary positions of a grid, which all blocks share."""
        network = self.config.network
        return rotations(size, network.hidden_channels // network.num_heads, like=self.prefix)

    def logits(self, features: Tensor) -> Tensor:
        """Compute the logits `(..., K)` of features `(..., C)` after the last block."""
        logits: Tensor = self.to_logits(self.norm(features))
        return logits


class _TransformerState(PriorState):
    """A `TransformerPrior` in the middle of a walk, with keys and values of all earlier positions."""

    def __init__(self, prior: TransformerPrior, conditioning: Tensor, label: Tensor | None) -> None:
        super().__init__(conditioning)
        batch_size, height, width, _ = conditioning.shape
        self._prior = prior
        self._before = prior.start_features(batch_size, label).clone()  # it may be the parameter itself
        self._rotations = prior.rotations((height, width))
        self._blocks: list[TransformerBlock] = list(prior.blocks)  # type: ignore[arg-type]  # a ModuleList forgets types
        self._attentions = [CausalAttentionWalk(block.attention, batch_size, height * width) for block in self._blocks]

    def step(self, column: Tensor) -> Tensor:
        features = self._before + self._conditioning_at(column)
        position, mask = self._positions.add(column)
        rotation = self._rotations.index_select(1, position)
        for block, attention in zip(self._blocks, self._attentions, strict=True):
            attention.add_to(features, block.attention_norm(features), position, mask, rotation)
            features = block.finish(features)
        return self._prior.logits(features)

    def observe(self, column: Tensor, codes: Tensor) -> None:
        self._before.copy_(self._prior.embedding(codes))
