"""PixelSNAIL prior: gated causal convolutions with causal attention between them.

Razavi et al. 2019, sec. 3.2 and table 2, after Chen et al. 2018 (PixelSNAIL) and van den Oord et al. 2016
(gated PixelCNN). Departures: a layer norm over channels before every branch, which the paper's networks do not have,
since it lets deep stacks learn at high rates; attention dropout on weights instead of logits.

Shapes: B images, h x w code grid, K codes, C hidden channels, R residual channels. Grids are channels last.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import PixelSNAILConfig, PriorConfig
from vqvae2.models.prior import Conditioning, Prior
from vqvae2.nn.attention import CausalAttention, CausalAttentionState
from vqvae2.nn.causal import CausalConv2d, CausalConv2dState

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
        self.to_out = nn.Linear(residual, hidden)
        nn.init.zeros_(self.to_out.weight)  # every block starts as the identity
        nn.init.zeros_(self.to_out.bias)

    def forward(self, grid: Tensor, label: Tensor | None) -> Tensor:
        bias = self.label_bias(label)
        convolved = self.convolution(self.norm(grid))
        return self.gate(grid, convolved if bias is None else convolved + bias[:, None, None])

    def start(self, batch_size: int, size: tuple[int, int], label: Tensor | None) -> GatedBlockState:
        return GatedBlockState(self, batch_size, size, label)

    def label_bias(self, label: Tensor | None) -> Tensor | None:
        return None if self.label is None else self.label(label)

    def gate(self, residual: Tensor, convolved: Tensor) -> Tensor:
        """Finish the block, for a grid or for one position: `(..., C)` and `(..., 2 R)` to `(..., C)`."""
        out: Tensor = residual + self.to_out(self.dropout(functional.glu(convolved)))
        return out


class AttentionBlock(nn.Module):
    """Norm, causal attention, added to the input."""

    def __init__(self, config: PixelSNAILConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_channels, bias=False)
        self.attention = CausalAttention(config.hidden_channels, config.num_heads, dropout=config.dropout)

    def forward(self, grid: Tensor, label: Tensor | None) -> Tensor:
        out: Tensor = grid + self.attention(self.norm(grid))
        return out

    def start(self, batch_size: int, size: tuple[int, int], label: Tensor | None) -> AttentionBlockState:
        return AttentionBlockState(self, batch_size, size)


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
        self.embedding = nn.Embedding(self.num_embeddings, hidden)
        self.first = CausalConv2d(hidden, hidden, network.kernel_size, sees_center=False)
        self.conditioning = Conditioning(config.space, hidden, num_layers=network.conditioning_layers)
        blocks: list[GatedBlock | AttentionBlock] = []
        for index in range(1, network.num_layers + 1):
            blocks.append(GatedBlock(network, has_labels=config.space.num_classes > 0))
            if network.attention_every and index % network.attention_every == 0:
                blocks.append(AttentionBlock(network))
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Sequential(*(PointwiseBlock(network) for _ in range(network.output_layers)))
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.to_logits = nn.Linear(hidden, self.num_embeddings)
        nn.init.zeros_(self.to_logits.weight)  # training starts from the uniform distribution
        nn.init.zeros_(self.to_logits.bias)

    def forward(self, codes: Tensor, *, above: Sequence[Tensor] = (), labels: Tensor | None = None) -> Tensor:
        batch_size, height, width = codes.shape
        label = self.conditioning.labels(batch_size, labels)
        grid = self.first(self.embedding(codes)) + self.conditioning.grid(batch_size, (height, width), above)
        for block in self.blocks:
            grid = block(grid, label)
        return self.logits(grid)

    def start(
        self, batch_size: int, size: tuple[int, int], *, above: Sequence[Tensor] = (), labels: Tensor | None = None
    ) -> PixelSNAILState:
        return PixelSNAILState(self, batch_size, size, above, labels)

    def logits(self, features: Tensor) -> Tensor:
        """Give the logits `(..., K)` of features `(..., C)` after the last block."""
        logits: Tensor = self.to_logits(self.norm(self.output(features)))
        return logits


class GatedBlockState:
    """One gated block in the middle of a walk."""

    def __init__(self, block: GatedBlock, batch_size: int, size: tuple[int, int], label: Tensor | None) -> None:
        self._block = block
        self._convolution = CausalConv2dState(block.convolution, batch_size, *size)
        self._bias = block.label_bias(label)

    def start_row(self, row: int) -> None:
        self._convolution.start_row(row)

    def step(self, row: int, column: int, features: Tensor) -> Tensor:
        self._convolution.write(row, column, self._block.norm(features))
        convolved = self._convolution.read(row, column)
        return self._block.gate(features, convolved if self._bias is None else convolved + self._bias)


class AttentionBlockState:
    """One attention block in the middle of a walk."""

    def __init__(self, block: AttentionBlock, batch_size: int, size: tuple[int, int]) -> None:
        self._block = block
        self._width = size[1]
        self._attention = CausalAttentionState(block.attention, batch_size, size[0] * size[1])

    def start_row(self, row: int) -> None:
        """Nothing to prepare: attention reads its stored keys and values."""

    def step(self, row: int, column: int, features: Tensor) -> Tensor:
        return features + self._attention.step(row * self._width + column, self._block.norm(features))


class PixelSNAILState:
    """A `PixelSNAILPrior` in the middle of a walk; nothing is computed twice.

    The above part of every convolution is computed once a row for the whole row; only the left part, the gates
    and the attention run once a position (Ramachandran et al. 2017, split further by rows).
    """

    def __init__(
        self,
        prior: PixelSNAILPrior,
        batch_size: int,
        size: tuple[int, int],
        above: Sequence[Tensor],
        labels: Tensor | None,
    ) -> None:
        self._prior = prior
        self._conditioning = prior.conditioning.grid(batch_size, size, above)
        self._first = CausalConv2dState(prior.first, batch_size, *size)
        label = prior.conditioning.labels(batch_size, labels)
        self._blocks: list[GatedBlockState | AttentionBlockState] = [
            block.start(batch_size, size, label)  # type: ignore[operator]  # a ModuleList forgets the types
            for block in prior.blocks
        ]

    def step(self, row: int, column: int) -> Tensor:
        if column == 0:
            self._first.start_row(row)
            for block in self._blocks:
                block.start_row(row)
        features = self._first.read(row, column) + self._conditioning[:, row, column]
        for block in self._blocks:
            features = block.step(row, column, features)
        return self._prior.logits(features)

    def observe(self, row: int, column: int, codes: Tensor) -> None:
        self._first.write(row, column, self._prior.embedding(codes))
