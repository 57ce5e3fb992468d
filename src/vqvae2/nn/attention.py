"""Causal self-attention over a code grid in raster order.

Shapes: B images, h x w grid, L = h w positions, C channels, n query heads of d = C / n channels, g key-value heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AttendedPositions", "CausalAttention", "CausalAttentionWalk", "rotations"]

# A walk reads its keys and values up to one of so many lengths: few enough to capture a step for each.
_MOST_LENGTHS = 8
_BASE = 100.0  # of rotary wavelengths; grids are short, so the usual 10,000 would leave most channels unturned


def rotations(size: tuple[int, int], head_channels: int, *, like: Tensor) -> Tensor:
    """Make the angles of a rotary position embedding in two dimensions (after Su et al. 2021).

    Rows turn one half of a head's channel pairs, columns the other, so that what a query makes of a key depends on
    how many rows and columns lie between them. Wavelengths run from some 6 positions to some 600.

    Args:
        size: Grid `(h, w)`.
        head_channels: d, a multiple of 4.
        like: Gives device and dtype.

    Returns:
        Cosines and sines, `(2, L, d / 2)`.
    """
    # In float64 whatever the model's precision: sines of float32 differ between machines by more than a coder can bear.
    device = "cpu" if like.device.type == "mps" else like.device  # which has no float64
    count = head_channels // 4
    rates = _BASE ** -(torch.arange(count, device=device, dtype=torch.float64) / count)
    rows, columns = (torch.arange(side, device=device, dtype=torch.float64)[:, None] * rates for side in size)
    angles = torch.cat((rows[:, None].expand(-1, size[1], -1), columns[None].expand(size[0], -1, -1)), dim=-1)
    return torch.stack((angles.cos(), angles.sin())).flatten(1, 2).to(like)


def rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    """Turn heads `(..., L, d)` by `(2, L, d / 2)`."""
    first, second = heads.chunk(2, dim=-1)
    cos, sin = rotation
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1).to(heads.dtype)


class CausalAttention(nn.Module):
    """Multi-head attention in which a position sees itself and those before it.

    Seeing itself is safe above a first layer that does not see its own code. Query heads may share keys and values:
    a walk reads all of these for every code, and that is what attention costs there (Shazeer 2019). While training,
    dropout takes logits away before the softmax, the same for all heads, so that the weights left still sum to 1.

    Args:
        channels: C.
        num_heads: n; divides C.
        num_kv_heads: g; divides n.
        dropout: Probability that a position does not see another one.
    """

    def __init__(self, channels: int, num_heads: int, num_kv_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        self.head_channels = channels // num_heads
        self.dropout = dropout
        self.to_qkv = nn.Linear(channels, channels + 2 * num_kv_heads * self.head_channels, bias=False)
        self.to_out = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.to_out.weight)  # a new layer starts as the identity of its residual branch

    def forward(self, features: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Attend over all positions `(B, L, C)`; same shape out, to be added to the residual stream."""
        query, key, value = self.split_heads(features)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        visible = self._visible(len(features), features.shape[1], features.device)
        # On a CPU, the backward pass of bfloat16 takes up to five times as long as that of float32.
        if features.device.type == "cpu" and query.dtype == torch.bfloat16:
            query, key, value = query.float(), key.float(), value.float()
        with torch.autocast(features.device.type, enabled=False):
            heads = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=visible, is_causal=visible is None, enable_gqa=True
            )
        out: Tensor = self.to_out(heads.transpose(1, 2).flatten(2))
        return out

    def split_heads(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make query `(B, n, L, d)`, and key and value `(B, g, L, d)`, of features `(B, L, C)`."""
        heads = self.to_qkv(features).unflatten(-1, (-1, self.head_channels)).transpose(1, 2)
        query, key, value = heads.split((self.num_heads, self.num_kv_heads, self.num_kv_heads), dim=1)
        return query, key, value

    def _visible(self, batch_size: int, length: int, device: torch.device) -> Tensor | None:
        """Which positions see which, bool `(B, 1, L, L)`, where dropout leaves some out; each sees itself."""
        if not self.training or not self.dropout:
            return None
        kept = torch.rand(batch_size, 1, length, length, device=device) >= self.dropout
        return (kept | torch.eye(length, dtype=torch.bool, device=device)).tril_()


class AttendedPositions:
    """Which positions all attention layers of a walk see at a step.

    Keys and values are read up to the end of some row at or below the current one, and what is not yet filled is
    masked, so that lengths are few and a captured step serves many rows.

    Args:
        size: Grid `(h, w)`.
        like: Gives device and dtype.
    """

    def __init__(self, size: tuple[int, int], *, like: Tensor) -> None:
        height, self._width = size
        self._num_positions = height * self._width
        self._rows_a_length = -(-height // _MOST_LENGTHS)
        self._mask = like.new_full((1, self._num_positions), -torch.inf)
        self._row_start = torch.zeros(1, dtype=torch.int64, device=like.device)
        self.length = 0

    def start_row(self, row: int) -> None:
        self._row_start.fill_(row * self._width)
        rows = (row // self._rows_a_length + 1) * self._rows_a_length
        self.length = min(rows * self._width, self._num_positions)

    def add(self, column: Tensor) -> tuple[Tensor, Tensor]:
        """Let a column of the current row, an int64 `(1,)`, be seen.

        Returns:
            Its position, int64 `(1,)`, and what is added to the logits of the positions that are read, `(1, length)`.
        """
        position = self._row_start + column
        self._mask.index_fill_(1, position, 0.0)
        return position, self._mask[:, : self.length]


class CausalAttentionWalk:
    """The same attention, position by position, over stored keys and values.

    Args:
        attention: The layer.
        batch_size: B.
        num_positions: L.
    """

    def __init__(self, attention: CausalAttention, batch_size: int, num_positions: int) -> None:
        self._num_heads, self._num_kv_heads = attention.num_heads, attention.num_kv_heads
        self._head_channels = attention.head_channels
        # (in, out), which is read faster for a small batch
        self._in_weight = attention.to_qkv.weight.t().contiguous()
        self._out_weight = attention.to_out.weight.t().contiguous()
        shape = (batch_size, 2, attention.num_kv_heads, num_positions, attention.head_channels)
        self._keys_and_values = self._in_weight.new_zeros(shape)

    @property
    def num_bytes(self) -> int:
        """Memory of all buffers."""
        return self._keys_and_values.nbytes

    def add_to(
        self, residual: Tensor, features: Tensor, position: Tensor, mask: Tensor, rotation: Tensor | None = None
    ) -> None:
        """Take the input `(B, C)` of a position, an int64 `(1,)`, and add its output to a residual stream `(B, C)`."""
        heads = features.mm(self._in_weight).view(len(features), -1, self._head_channels)  # (B, n + 2 g, d)
        num_heads, g = self._num_heads, self._num_kv_heads
        if rotation is not None:
            heads = torch.cat((rotate(heads[:, :-g], rotation), heads[:, -g:]), dim=1)
        self._keys_and_values.index_copy_(3, position, heads[:, num_heads:].view(-1, 2, g, 1, self._head_channels))
        keys, values = self._keys_and_values[..., : mask.shape[1], :].unbind(1)
        # Query heads that share a key head stand where positions usually do: all are answered by one reading of it.
        query = heads[:, :num_heads].view(-1, g, num_heads // g, self._head_channels)
        attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        residual.addmm_(attended.flatten(1), self._out_weight)
