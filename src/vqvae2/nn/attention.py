"""Causal self-attention over a code grid in raster order.

Shapes: B images, h x w grid, L = h w positions, C channels, n query heads of d = C / n channels, g key-value heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AttendedPositions", "CausalAttention", "CausalAttentionWalk", "rotations"]

# A walk reads keys and values up to one of this many lengths: few enough to capture one step for each.
_MAX_LENGTHS = 8
_BASE = 100.0  # of rotary wavelengths; grids are short, so the usual 10,000 would hardly rotate most channels


def rotations(size: tuple[int, int], head_channels: int, *, like: Tensor) -> Tensor:
    """Compute the angles of a rotary position embedding in two dimensions (after Su et al. 2021).

    Rows rotate one half of the channel pairs of a head, columns the other half, so the product of a query and a key
    depends on the rows and columns between them. Wavelengths run from about 6 positions to about 600.

    Args:
        size: Grid `(h, w)`.
        head_channels: d, a multiple of 4.
        like: Tensor of the wanted device and dtype.

    Returns:
        Cosines and sines, `(2, L, d / 2)`.
    """
    # Always float64: sines of float32 differ between machines by more than a coder tolerates.
    device = "cpu" if like.device.type == "mps" else like.device  # MPS has no float64
    count = head_channels // 4
    rates = _BASE ** -(torch.arange(count, device=device, dtype=torch.float64) / count)
    turns = torch.arange(max(size), device=device, dtype=torch.float64)[:, None] * rates
    rows, columns = turns[: size[0]], turns[: size[1]]
    angles = torch.cat((rows[:, None].expand(-1, size[1], -1), columns[None].expand(size[0], -1, -1)), dim=-1)
    return torch.stack((angles.cos(), angles.sin())).flatten(1, 2).to(like)


def rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    """Rotate heads `(..., L, d)` by angles `(2, L, d / 2)`."""
    first, second = heads.chunk(2, dim=-1)
    cos, sin = rotation
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1).to(heads.dtype)


class CausalAttention(nn.Module):
    """Multi-head attention in which a position sees itself and all earlier ones.

    A position may see itself because the first layer below does not see its own code. Query heads may share keys and
    values: a walk reads all of them for every code, which is the cost of attention there (Shazeer 2019). In training,
    dropout removes logits before the softmax, the same ones for all heads, so the remaining weights still sum to 1.
    """

    def __init__(self, channels: int, num_heads: int, num_kv_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        self.head_channels = channels // num_heads
        self.dropout = dropout
        self.to_qkv = nn.Linear(channels, channels + 2 * num_kv_heads * self.head_channels, bias=False)
        self.to_out = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.to_out.weight)  # with its residual connection, a new layer is the identity

    def forward(self, features: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Attend over all positions `(B, L, C)`. The result has the same shape; add it to the residual stream."""
        # Project to query (B, n, L, d), and key and value (B, g, L, d).
        heads = self.to_qkv(features).unflatten(-1, (-1, self.head_channels)).transpose(1, 2)
        query, key, value = heads.split((self.num_heads, self.num_kv_heads, self.num_kv_heads), dim=1)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        visible = self._visible(len(features), features.shape[1], features.device)
        # On a CPU, the backward pass takes up to five times as long in bfloat16 as in float32.
        if features.device.type == "cpu" and query.dtype == torch.bfloat16:
            query, key, value = query.float(), key.float(), value.float()
        with torch.autocast(features.device.type, enabled=False):
            heads = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=visible, is_causal=visible is None, enable_gqa=True
            )
        out: Tensor = self.to_out(heads.transpose(1, 2).flatten(2))
        return out

    def _visible(self, batch_size: int, length: int, device: torch.device) -> Tensor | None:
        """Draw which positions see which, bool `(B, 1, L, L)`, with dropout; each position sees itself."""
        if not self.training or not self.dropout:
            return None
        kept = torch.rand(batch_size, 1, length, length, device=device) >= self.dropout
        return (kept | torch.eye(length, dtype=torch.bool, device=device)).tril_()


class AttendedPositions:
    """The positions that all attention layers of a walk see at a step.

    Keys and values are read up to the end of the current row or a later one, and a mask hides what is not filled yet.
    So there are few lengths, and a captured step serves many rows.
    """

    def __init__(self, size: tuple[int, int], *, like: Tensor) -> None:
        height, self._width = size
        self._num_positions = height * self._width
        self._rows_per_length = -(-height // _MAX_LENGTHS)
        self._mask = like.new_full((1, self._num_positions), -torch.inf)
        self._row_start = torch.zeros(1, dtype=torch.int64, device=like.device)
        self.length = 0

    def start_row(self, row: int) -> None:
        self._row_start.fill_(row * self._width)
        rows = (row // self._rows_per_length + 1) * self._rows_per_length
        self.length = min(rows * self._width, self._num_positions)

    def add(self, column: Tensor) -> tuple[Tensor, Tensor]:
        """Make a column of the current row, an int64 `(1,)`, visible.

        Return its position, int64 `(1,)`, and the mask `(1, length)` to add to the attention logits.
        """
        position = self._row_start + column
        self._mask.index_fill_(1, position, 0.0)
        return position, self._mask[:, : self.length]


class CausalAttentionWalk:
    """`CausalAttention` position by position, over stored keys and values."""

    def __init__(self, attention: CausalAttention, batch_size: int, num_positions: int) -> None:
        self._num_heads, self._num_kv_heads = attention.num_heads, attention.num_kv_heads
        self._head_channels = attention.head_channels
        # Transposed to (in, out), which is faster to read for a small batch.
        self._in_weight = attention.to_qkv.weight.t().contiguous()
        self._out_weight = attention.to_out.weight.t().contiguous()
        shape = (batch_size, 2, attention.num_kv_heads, num_positions, attention.head_channels)
        self._keys_and_values = self._in_weight.new_zeros(shape)

    def add_to(
        self, residual: Tensor, features: Tensor, position: Tensor, mask: Tensor, rotation: Tensor | None = None
    ) -> None:
        """Attend from `features` `(B, C)` at a position, an int64 `(1,)`, and add the output to `residual` `(B, C)`."""
        # Project and rotate the position's query, key and value.
        heads = features.mm(self._in_weight).view(len(features), -1, self._head_channels)  # (B, n + 2 g, d)
        num_heads, g = self._num_heads, self._num_kv_heads
        if rotation is not None:
            heads = torch.cat((rotate(heads[:, :-g], rotation), heads[:, -g:]), dim=1)
        # Store its key and value.
        self._keys_and_values.index_copy_(3, position, heads[:, num_heads:].view(-1, 2, g, 1, self._head_channels))
        keys, values = self._keys_and_values[..., : mask.shape[1], :].unbind(1)
        # Attend. Query heads that share a key head take the place of positions, so that one reading serves all of them.
        query = heads[:, :num_heads].view(-1, g, num_heads // g, self._head_channels)
        attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        residual.addmm_(attended.flatten(1), self._out_weight)
