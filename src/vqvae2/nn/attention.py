"""Causal self-attention over a code grid in raster order.

Shapes: B images, h x w grid, L = h w positions, C channels, n heads of d = C / n channels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CausalAttention", "CausalAttentionState"]


class CausalAttention(nn.Module):
    """Multi-head attention in which a position sees itself and those before it.

    Seeing itself is safe above a first layer that does not see its own code. Dropout falls on the attention
    weights; the paper has it on the logits.

    Args:
        channels: C.
        num_heads: n; divides C.
        dropout: Probability of dropping an attention weight while training.
    """

    def __init__(self, channels: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.to_out.weight)  # a new layer starts as the identity of its residual branch
        nn.init.zeros_(self.to_out.bias)

    def forward(self, grid: Tensor) -> Tensor:
        """Attend over a whole grid `(B, h, w, C)`; same shape out, to be added to the residual stream."""
        query, key, value = self.split_heads(self.to_qkv(grid.flatten(1, 2)))
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        out: Tensor = self.to_out(heads.transpose(1, 2).reshape(grid.shape))
        return out

    def split_heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split `(B, L, 3 C)` into query, key and value `(B, n, L, d)`."""
        batch_size, length, _ = qkv.shape
        query, key, value = qkv.view(batch_size, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return query, key, value


class CausalAttentionState:
    """The same attention, position by position, over stored keys and values; only the filled prefix is read."""

    def __init__(self, attention: CausalAttention, batch_size: int, num_positions: int) -> None:
        weight = attention.to_out.weight
        shape = (batch_size, attention.num_heads, num_positions, weight.shape[0] // attention.num_heads)
        self._attention = attention
        self._keys, self._values = weight.new_zeros(shape), weight.new_zeros(shape)

    def step(self, position: int, features: Tensor) -> Tensor:
        """Take the input `(B, C)` of a position and return its output `(B, C)`."""
        query, key, value = self._attention.split_heads(self._attention.to_qkv(features[:, None]))
        self._keys[:, :, position], self._values[:, :, position] = key[:, :, 0], value[:, :, 0]
        filled = position + 1
        heads = functional.scaled_dot_product_attention(query, self._keys[:, :, :filled], self._values[:, :, :filled])
        out: Tensor = self._attention.to_out(heads.flatten(1))  # (B, n, 1, d) to (B, C)
        return out
