"""PixelSNAIL prior: gated causal convolutions with causal attention between them.

Razavi et al. 2019, sec. 3.2 and table 2, after Chen et al. 2018 (PixelSNAIL) and van den Oord et al. 2016
(gated PixelCNN). Departures from the paper: a layer norm over channels before every branch, which lets deep stacks
learn at high rates; attention heads may share keys and values.

Shapes: B images, h x w code grid, K codes, C hidden channels, R residual channels. Grids are channels last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import PixelSNAILConfig, PriorConfig
from vqvae2.models.prior import Conditioning, Prior, PriorState
from vqvae2.nn.causal import CausalAttention, CausalAttentionWalk, CausalConv2d, CausalConv2dWalk

__all__ = ["PixelSNAILPrior"]


class GatedBlock(nn.Module):
    """Norm, causal convolution C to 2 R plus class, gate, dropout, 1x1 back to C, added to the input."""

    def __init__(self, config: PixelSNAILConfig, *, has_labels: bool) -> None:
        super().__init__()
        hidden, residual = config.hidden_channels, config.residual_channels
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.convolution = CausalConv2d(hidden, 2 * residual, config.kernel_size, sees_center=True)
        self.label = nn.Linear(hidden, 2 * residual, bias=False) if has_labels else None
        self.dropout = nn.Dropout(config.dropout)
        self.to_out = nn.Linear(residual, hidden, bias=False)
        nn.init.zeros_(self.to_out.weight)  # every block starts as the identity

    def forward(self, grid: Tensor, label: Tensor | None) -> Tensor:
        convolved = self.convolution(self.norm(grid))
        if self.label is not None:
            convolved += self.label(label)[:, None, None]
        out: Tensor = grid + self.to_out(self.dropout(functional.glu(convolved)))
        return out

    def bias(self, label: Tensor | None) -> Tensor:
        """Return the bias of the convolution plus the class's: `(B, 2 R)`, or `(1, 2 R)` without classes."""
        bias = self.convolution.bias
        return bias[None] if self.label is None else bias + self.label(label)


class AttentionBlock(nn.Module):
    """Norm, causal attention, added to the input."""

    def __init__(self, config: PixelSNAILConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_channels, bias=False)
        self.attention = CausalAttention(
            config.hidden_channels, config.num_heads, config.num_kv_heads, dropout=config.dropout
        )

    def forward(self, grid: Tensor) -> Tensor:
        out: Tensor = grid + self.attention(self.norm(grid).flatten(1, 2)).view_as(grid)
        return out


class PointwiseBlock(nn.Sequential):
    """A 1x1 residual block of the output stack: norm, 1x1 C to R, SiLU, dropout, 1x1 back to C."""

    def __init__(self, config: PixelSNAILConfig) -> None:
        hidden, residual = config.hidden_channels, config.residual_channels
        super().__init__(
            nn.LayerNorm(hidden, bias=False),
            nn.Linear(hidden, residual),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(residual, hidden),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + super().forward(features)


class PixelSNAILPrior(Prior):
    """Prior of one level.

    ::

        codes ── embed ── causal conv (not the position itself) ── + ──► blocks ──► output stack ── norm ── logits
        levels above, position ── Conditioning ────────────────────┘       │
                                                 gated block, ..., attention block, gated block, ...
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(config)
        network, hidden = config.network, config.network.hidden_channels
        assert isinstance(network, PixelSNAILConfig)
        self.embedding = nn.Embedding(self.num_embeddings, hidden)
        self.first = CausalConv2d(hidden, hidden, network.kernel_size, sees_center=False)
        self.conditioning = Conditioning(config.space, hidden, num_layers=network.conditioning_layers)
        self.gated = nn.ModuleList(
            GatedBlock(network, has_labels=config.space.num_classes > 0) for _ in range(network.num_layers)
        )
        self.attentions = nn.ModuleDict(
            {str(index): AttentionBlock(network) for index in range(network.num_layers) if network.attends_after(index)}
        )
        self.output = nn.Sequential(*(PointwiseBlock(network) for _ in range(network.output_layers)))
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.to_logits = nn.Linear(hidden, self.num_embeddings)
        nn.init.zeros_(self.to_logits.weight)  # training starts from the uniform distribution
        nn.init.zeros_(self.to_logits.bias)

    def forward(self, codes: Tensor, *, above: Sequence[Tensor] = (), labels: Tensor | None = None) -> Tensor:
        batch_size, height, width = codes.shape
        label = self.conditioning.labels(batch_size, labels)
        grid = self.first(self.embedding(codes)) + self.conditioning.grid(batch_size, (height, width), above)
        for index, block in enumerate(self.gated):
            grid = block(grid, label)
            if str(index) in self.attentions:
                grid = self.attentions[str(index)](grid)
        return self.logits(grid)

    def _begin(self, conditioning: Tensor, label: Tensor | None) -> PriorState:
        return _PixelSNAILState(self, conditioning, label)

    def logits(self, features: Tensor) -> Tensor:
        """Compute the logits `(..., K)` of features `(..., C)` after the last block."""
        logits: Tensor = self.to_logits(self.norm(self.output(features)))
        return logits


class _PixelSNAILState(PriorState):
    """A `PixelSNAILPrior` in the middle of a walk; nothing is computed twice.

    `CausalConv2dWalk` computes the above part of all convolutions once per row, and the part of the left neighbours
    once per position. Centre taps, gates and attention remain for the step (Ramachandran et al. 2017, split further).
    """

    def __init__(self, prior: PixelSNAILPrior, conditioning: Tensor, label: Tensor | None) -> None:
        super().__init__(conditioning)
        batch_size, height, width, _ = conditioning.shape
        self._prior = prior
        self._first = CausalConv2dWalk([prior.first], batch_size, width, bias=prior.first.bias[None, None])
        self._blocks: list[GatedBlock] = list(prior.gated)  # type: ignore[arg-type]  # a ModuleList forgets the types
        biases: list[Tensor] = []
        self._out_weights: list[Tensor] = []
        for block in self._blocks:
            biases.append(block.bias(label))
            self._out_weights.append(block.to_out.weight.t().contiguous())
        convolutions = [block.convolution for block in self._blocks]
        self._gated = CausalConv2dWalk(convolutions, batch_size, width, bias=torch.stack(biases))
        self._attentions: dict[int, tuple[AttentionBlock, CausalAttentionWalk]] = {}
        for index, attention in prior.attentions.items():
            assert isinstance(attention, AttentionBlock)
            attention_walk = CausalAttentionWalk(attention.attention, batch_size, height * width)
            self._attentions[int(index)] = (attention, attention_walk)

    @property
    def variant(self) -> int:
        return super().variant if self._attentions else 0

    def start_row(self, row: int) -> None:
        super().start_row(row)
        self._first.start_row(row)
        self._gated.start_row(row)

    def step(self, column: Tensor) -> Tensor:
        # The first layer sees only earlier codes, so all of its output is known.
        (features,) = self._first.known(column)
        features = features + self._conditioning_at(column)
        position, mask = self._positions.add(column)
        # Blocks: add the centre tap to the known part, gate, and attend. Features change in place.
        inputs: list[Tensor] = []
        for index, known in enumerate(self._gated.known(column)):
            inputs.append(self._blocks[index].norm(features))
            convolved = known.addmm_(inputs[-1], self._gated.center_weights[index])
            features.addmm_(functional.glu(convolved), self._out_weights[index])
            if index in self._attentions:
                block, attention = self._attentions[index]
                attention.add_to(features, block.norm(features), position, mask)
        # Later positions see these inputs as neighbours.
        self._gated.write(column, torch.stack(inputs))
        return self._prior.logits(features)

    def observe(self, column: Tensor, codes: Tensor) -> None:
        self._first.write(column, self._prior.embedding(codes)[None])
