"""The causal layers of priors over a code grid in raster order: convolution and self-attention, and their walks.

A convolution is split into what lies above and what lies to the left. Its grids are channels last, `(B, h, w, C)`, so
that pointwise layers serve a grid and a single position alike.

Shapes: B images, h x w grid, L = h w positions, N layers. Convolution: C channels in, O channels out, k kernel size,
p = k // 2 its reach. Attention: C channels, n query heads of d = C / n channels, g key-value heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "AttendedPositions",
    "CausalAttention",
    "CausalAttentionWalk",
    "CausalConv2d",
    "CausalConv2dWalk",
    "rotations",
]

# A walk reads keys and values up to one of this many lengths: few enough to capture one step for each.
_MAX_LENGTHS = 8
_BASE = 100.0  # of rotary wavelengths; grids are short, so the usual 10,000 would hardly rotate most channels


class CausalConv2d(nn.Module):
    """A k x k convolution that sees the p rows above, and p positions to the left in its own row.

    ::

        a a a a a
        a a a a a      a: the above part, whole rows, all known once the row before is done
        l l c . .      l: the left part; c: the position itself, only if `sees_center`

    Both parts are stored without the masked half of the kernel, so neither training nor sampling multiplies by
    masked zeros. The first layer over codes must not see the position itself. Every later layer may, since its input
    there depends on earlier codes only (van den Oord et al. 2016, masks A and B). The kernel size is odd.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, sees_center: bool) -> None:
        super().__init__()
        self.reach = kernel_size // 2
        self.sees_center = sees_center
        self.above = nn.Conv2d(in_channels, out_channels, (self.reach, kernel_size))
        self.left = nn.Conv2d(in_channels, out_channels, (1, self.reach + sees_center), bias=False)
        taps = self.reach * kernel_size + self.reach + sees_center
        for weight in (self.above.weight, self.left.weight):  # scaled by the fan-in of both parts together
            nn.init.normal_(weight, std=(taps * in_channels) ** -0.5)
        nn.init.zeros_(self.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def bias(self) -> Tensor:
        """Bias of the whole convolution, `(O,)`."""
        bias = self.above.bias
        assert bias is not None
        return bias

    def forward(self, grid: Tensor) -> Tensor:
        """Convolve a whole grid `(B, h, w, C)` into `(B, h, w, O)`."""
        features = grid.permute(0, 3, 1, 2)
        height, width = features.shape[-2:]
        p = self.reach
        # Above: pad on top and drop the last row, so that row r of the result sees rows r - p .. r - 1.
        out: Tensor = self.above(functional.pad(features, (p, p, p, 0))[:, :, : height + p - 1])
        # Left: column c sees columns c - p .. c, or c - 1 without the centre.
        left_padded = functional.pad(features, (p, 0, 0, 0))
        out += self.left(left_padded if self.sees_center else left_padded[..., : width + p - 1])
        return out.permute(0, 2, 3, 1)


class CausalConv2dWalk:
    """N convolutions of one shape, position by position, each over its own grid.

    The above parts are computed once per row, for the whole row. The part of the left neighbours is computed once per
    position, for all layers at once, since these inputs are known before the first layer runs. Only the centre tap
    remains between two layers. All buffers stay in place and columns are tensors, so that a step can be captured or
    compiled.

    The bias, `(N, B, O)` or `(N, 1, O)`, is added to every output instead of the layers' own.
    """

    def __init__(self, convolutions: Sequence[CausalConv2d], batch_size: int, width: int, *, bias: Tensor) -> None:
        first = convolutions[0]
        p = self._reach = first.reach
        out_channels, channels = first.left.weight.shape[:2]
        # Weights: above, left and centre, each as a matrix from inputs to outputs.
        # (O, C, p, k) to (p k C, O) is a view, since weights are channels last.
        self._above_weights = [layer.above.weight.permute(0, 2, 3, 1).flatten(1).t() for layer in convolutions]
        left = torch.stack([layer.left.weight[:, :, 0].permute(2, 1, 0) for layer in convolutions])  # (N, taps, C, O)
        self._left_weight = left[:, :p].flatten(1, 2).contiguous()  # (N, p C, O)
        self.center_weights = left[:, p].contiguous().unbind() if first.sees_center else ()
        self._bias = bias[:, :, None]
        # Buffers: inputs of the p rows above and of the current row, and what is computed of them.
        num_layers = len(convolutions)
        self._rows_above = left.new_zeros(num_layers, p, batch_size, width + 2 * p, channels)  # row r lies at r % p
        self._row = left.new_zeros(num_layers, batch_size, p + width, channels)
        self._above = left.new_zeros(num_layers, batch_size, width, out_channels)
        self._patches = left.new_zeros(batch_size, width, p, first.above.kernel_size[1], channels)
        self._taps = torch.arange(p + 1, device=left.device)

    def start_row(self, row: int) -> None:
        """Compute the above parts of a whole row. Every position of the row before must be written."""
        p = self._reach
        self._above.copy_(self._bias)
        if not row:
            return
        # The finished row takes the place of the oldest one.
        self._rows_above[:, (row - 1) % p, :, p:-p] = self._row[:, :, p:]
        for rows, weight, above in zip(self._rows_above, self._above_weights, self._above, strict=True):
            for offset in range(p):  # oldest row first, as in the kernel
                windows = rows[(row + offset) % p].unfold(1, 2 * p + 1, 1)  # (B, w, C, k)
                self._patches[:, :, offset] = windows.transpose(2, 3)
            above.flatten(0, 1).addmm_(self._patches.flatten(2).flatten(0, 1), weight)

    def known(self, column: Tensor) -> tuple[Tensor, ...]:
        """Compute what is known of the outputs at a column, an int64 `(1,)`, before the step: `(B, O)` per layer.

        Where layers see the centre, the product of their input there with `center_weights`, `(C, O)` each, is missing.
        """
        neighbours = self._row.index_select(2, self._taps[:-1] + column).flatten(2)  # (N, B, p C)
        return self._above.index_select(2, column)[:, :, 0].baddbmm_(neighbours, self._left_weight).unbind()

    def write(self, column: Tensor, features: Tensor) -> None:
        """Store the inputs `(N, B, C)` of a column, an int64 `(1,)`."""
        self._row.index_copy_(2, self._taps[-1:] + column, features[:, :, None])


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
