"""PixelSNAIL prior: gated causal convolutions with causal attention between them.

Razavi et al. 2019, sec. 3.2 and table 2, after Chen et al. 2018 (PixelSNAIL) and van den Oord et al. 2016
(gated PixelCNN). Departures from the paper: a layer norm over channels before every branch, which lets deep stacks
learn at high rates; attention heads may share keys and values.

Shapes: B images, h x w code grid, K codes, C hidden channels, R residual channels. Grids are channels last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import PixelSNAILConfig, PriorConfig
from vqvae2.models.prior import Layers, Prior
from vqvae2.nn.causal import CausalAttention, CausalAttentionWalk, CausalConv2d, CausalConv2dWalk, Cursor
from vqvae2.nn.dropout import Dropout

__all__ = ["PixelSNAILPrior"]


class GatedBlock(nn.Module):
    """Norm, causal convolution C to 2 R plus class, gate, dropout, 1x1 back to C, added to the input."""

    def __init__(self, config: PixelSNAILConfig, *, has_labels: bool) -> None:
        super().__init__()
        hidden, residual = config.hidden_channels, config.residual_channels
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.convolution = CausalConv2d(hidden, 2 * residual, config.kernel_size, sees_center=True)
        self.label = nn.Linear(hidden, 2 * residual, bias=False) if has_labels else None
        self.dropout = Dropout(config.dropout)
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

    def forward(self, grid: Tensor, visible: Tensor) -> Tensor:
        out: Tensor = grid + self.attention(self.norm(grid).flatten(1, 2), visible).view_as(grid)
        return out


class PointwiseBlock(nn.Sequential):
    """A 1x1 residual block of the output stack: norm, 1x1 C to R, SiLU, dropout, 1x1 back to C."""

    def __init__(self, config: PixelSNAILConfig) -> None:
        hidden, residual = config.hidden_channels, config.residual_channels
        super().__init__(
            nn.LayerNorm(hidden, bias=False),
            nn.Linear(hidden, residual),
            nn.SiLU(),
            Dropout(config.dropout),
            nn.Linear(residual, hidden),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + super().forward(features)


class PixelSNAILPrior(Prior):
    """Prior of one level, whose layers are: gated block, ..., attention block, gated block, ..., output stack."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(config)
        network = config.network
        assert isinstance(network, PixelSNAILConfig)
        self.gated = nn.ModuleList(
            GatedBlock(network, has_labels=config.space.num_classes > 0) for _ in range(network.num_layers)
        )
        self.attentions = nn.ModuleDict(
            {str(index): AttentionBlock(network) for index in range(network.num_layers) if network.attends_after(index)}
        )
        self.output = nn.Sequential(*(PointwiseBlock(network) for _ in range(network.output_layers)))
        self._add_output()

    def _apply_layers(self, grid: Tensor, label: Tensor | None) -> Tensor:
        visible = self.visible(grid) if self.attentions else None
        for index, block in enumerate(self.gated):
            grid = block(grid, label)
            if str(index) in self.attentions:
                grid = self.attentions[str(index)](grid, visible)
        out: Tensor = self.output(grid)
        return out

    def _walk_layers(self, cursor: Cursor, label: Tensor | None) -> Layers:
        blocks: list[GatedBlock] = list(self.gated)  # type: ignore[arg-type]  # a ModuleList forgets the types
        bias = torch.stack([block.bias(label) for block in blocks])
        convolutions = CausalConv2dWalk([block.convolution for block in blocks], cursor, bias=bias)
        norms, out_weights = [block.norm for block in blocks], [block.to_out.weight.t() for block in blocks]
        attention_blocks: dict[str, AttentionBlock] = dict(self.attentions.items())  # type: ignore[arg-type]
        attentions = {index: CausalAttentionWalk(block.attention, cursor) for index, block in attention_blocks.items()}

        def layers(features: Tensor) -> Tensor:
            inputs: list[Tensor] = []
            parts = zip(norms, convolutions.known(), convolutions.center_weights, out_weights, strict=True)
            for index, (norm, known, center_weight, out_weight) in enumerate(parts):
                inputs.append(norm(features))
                gated = functional.glu(known.addmm_(inputs[-1], center_weight))
                features.addmm_(gated, out_weight)
                if attention := attentions.get(str(index)):
                    features += attention(attention_blocks[str(index)].norm(features))
            convolutions.write(cursor.places, torch.stack(inputs))  # later fronts see them as neighbours
            out: Tensor = self.output(features)
            return out

        return layers
