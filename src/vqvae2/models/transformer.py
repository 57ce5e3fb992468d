"""Transformer prior: causal attention over all earlier codes, after a causal convolution over the nearest ones.

Razavi et al. 2019 remark that a transformer can replace the PixelCNN, as later work on the same two stages does. This
one normalizes before each branch, has rotary positions in two dimensions (Su et al. 2021), and query heads that share
keys and values (Shazeer 2019).

Shapes: B images, L = h w positions of a code grid, K codes, C hidden channels, F feed-forward channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import PriorConfig, TransformerConfig
from vqvae2.models.prior import Layers, Prior
from vqvae2.nn.causal import CausalAttention, CausalAttentionWalk, Cursor, rotations
from vqvae2.nn.dropout import Dropout

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
        self.dropout = Dropout(config.dropout)
        nn.init.zeros_(self.to_out.weight)  # every block starts as the identity

    def forward(self, features: Tensor, visible: Tensor, rotation: Tensor) -> Tensor:
        return self.finish(features, self.attention(self.attention_norm(features), visible, rotation))

    def finish(self, features: Tensor, attended: Tensor) -> Tensor:
        """Add the output of attention and then the feed-forward part to the input, all `(..., C)`."""
        features = features + self.dropout(attended)
        inside = functional.gelu(self.to_feedforward(self.feedforward_norm(features)))
        out: Tensor = features + self.dropout(self.to_out(inside))
        return out


class TransformerPrior(Prior):
    """Prior of one level, whose layers are transformer blocks.

    The nearest codes come by the causal convolution, others by attention, over the features of earlier fronts, which
    know of the codes before them. The class comes by attention too, from the first position: told to all positions, it
    makes the network memorize small sets sooner.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(config)
        network = config.network
        assert isinstance(network, TransformerConfig)
        self.dropout = Dropout(network.dropout)
        self.blocks = nn.ModuleList(TransformerBlock(network) for _ in range(network.num_layers))
        self._add_output()

    def _condition(
        self, batch_size: int, size: tuple[int, int], above: Sequence[Tensor], labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        given, label = super()._condition(batch_size, size, above, labels)
        if label is not None:
            given = given + functional.pad(label[:, None, None], (0, 0, 0, size[1] - 1, 0, size[0] - 1))
        return given, label

    def _apply_layers(self, grid: Tensor, label: Tensor | None) -> Tensor:
        size = (grid.shape[1], grid.shape[2])
        visible, rotation = self.visible(grid), self._rotation(size)
        features = self.dropout(grid).flatten(1, 2)
        for block in self.blocks:
            features = block(features, visible, rotation)
        return features.unflatten(1, size)

    def _walk_layers(self, cursor: Cursor, label: Tensor | None) -> Layers:
        rotation = self._rotation(cursor.fronts.size)
        blocks: list[TransformerBlock] = list(self.blocks)  # type: ignore[arg-type]  # a ModuleList forgets the types
        attentions = [CausalAttentionWalk(block.attention, cursor, rotation) for block in blocks]

        def layers(features: Tensor) -> Tensor:
            for block, attention in zip(blocks, attentions, strict=True):
                features = block.finish(features, attention(block.attention_norm(features)))
            return features

        return layers

    def _rotation(self, size: tuple[int, int]) -> Tensor:
        """Compute the rotary positions of a grid, which all blocks share."""
        network = self.config.network
        return rotations(size, network.hidden_channels // network.num_heads, like=self.norm.weight)
