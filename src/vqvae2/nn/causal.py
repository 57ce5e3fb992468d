"""The causal layers of priors: convolution and self-attention, over whole grids and front by front.

A convolution is split into what lies above and what lies to the left. Its grids are channels last, `(B, h, w, C)`, so
that pointwise layers serve a grid and a front alike. See `nn/fronts.py` for the order of a walk, and for its places.

Shapes: B images, h x w grid, L = h w positions, n positions of a front. Convolution: C channels in, O channels out, k
kernel size, p = k // 2 its reach. Attention: C channels, q query heads of d = C / q channels, g key-value heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.nn.fronts import Fronts

__all__ = ["CausalAttention", "CausalAttentionWalk", "CausalConv2d", "CausalConv2dWalk", "Cursor", "rotations"]

_BASE = 100.0  # of rotary wavelengths; grids are short, so the usual 10,000 would hardly rotate most channels


class CausalConv2d(nn.Module):
    """A k x k convolution that sees the p rows above, and p positions to the left in its own row.

    ::

        a a a a a
        a a a a a      a: the above part; l: the left part
        l l c . .      c: the position itself, only if `sees_center`

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


class Cursor:
    """Where a walk stands. Its layers share it, for what they read is the same for all of them.

    Grids of a walk have a row per place, and two more: row L takes what pads a front, and row L + 1, for what lies
    outside of the grid, stays zero.

    Args:
        fronts: The order of the walk.
        batch_size: B.
        like: Tensor of the walk's device and dtype.
    """

    def __init__(self, fronts: Fronts, batch_size: int, *, like: Tensor) -> None:
        self.fronts, self.batch_size, self.like = fronts, batch_size, like
        length = len(fronts.positions)
        self._neighbours = functional.pad(fronts.neighbours(), (0, 0, 0, 1), value=length + 1)  # (L + 1, taps)
        self._images = torch.arange(batch_size, device=like.device)[:, None]
        self._numbers = functional.pad(fronts.numbers, (0, 1), value=torch.iinfo(torch.int32).max)  # (L + 1,)
        self._all_places = torch.arange(length + 1, device=like.device)
        self.places = self._all_places[:0]
        """Places of the front, `(n,)`."""

    def move(self, places: Tensor, end: int) -> None:
        """Go to a front, given its places and the place after the last one that attention may read."""
        self.places = places
        self.reads = self._neighbours[places, None] * self.batch_size + self._images
        """Rows `(n, B, taps)` of grids of places and images that a convolution reads."""
        seen = self._numbers[:end] < self._numbers[places, None]
        seen |= self._all_places[:end] == places[:, None]
        self.mask = torch.zeros_like(seen, dtype=self.like.dtype).masked_fill_(~seen, -torch.inf)
        """What to add to the logits of attention, `(n, end)`."""

    def grid(self, channels: int) -> Tensor:
        """Allocate a grid `(L + 2, B, channels)`."""
        return self.like.new_zeros(len(self._all_places) + 1, self.batch_size, channels)


class CausalConv2dWalk:
    """`CausalConv2d` front by front, over a grid of its inputs: one gather and one product per front."""

    def __init__(self, convolution: CausalConv2d, cursor: Cursor) -> None:
        self._cursor = cursor
        above, left = convolution.above.weight, convolution.left.weight
        parts = [weight.permute(0, 2, 3, 1).flatten(1) for weight in (above, left)]
        self._weight = torch.cat(parts, dim=1)  # (O, taps C)
        self._bias = convolution.bias
        self._num_taps = self._weight.shape[1] // left.shape[1]
        self._grid = cursor.grid(left.shape[1])

    def __call__(self, features: Tensor) -> Tensor:
        """Convolve at the front, given its inputs `(n, B, C)`, into `(n, B, O)`."""
        self.write(self._cursor.places, features)
        return self.read()

    def write(self, places: Tensor, features: Tensor) -> None:
        """Store inputs `(n, B, C)`."""
        self._grid.index_copy_(0, places, features)

    def read(self) -> Tensor:
        """Convolve at the front, whose own inputs are stored already if the convolution sees them."""
        reads = self._cursor.reads[..., : self._num_taps]
        inputs = self._grid.flatten(0, 1).index_select(0, reads.flatten())
        return functional.linear(inputs.view(*reads.shape[:2], -1), self._weight, self._bias)


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
    """Multi-head attention in which a position sees itself and all positions of earlier fronts.

    A position may see itself because the first layer below does not see its own code. Query heads may share keys and
    values: a walk reads all of them for every front, which is the cost of attention there (Shazeer 2019). In training,
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

    def forward(self, features: Tensor, visible: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Attend over all positions.

        Args:
            features: `(B, L, C)`.
            visible: Which positions each one sees, bool `(L, L)`.
            rotation: Of queries and keys, `(2, L, d / 2)`.

        Returns:
            `(B, L, C)`; add it to the residual stream.
        """
        query, key, value = self.heads(features, rotation)
        if self.training and self.dropout:
            kept = torch.rand(len(features), 1, *visible.shape, device=features.device) >= self.dropout
            visible = visible & (kept | torch.eye(len(visible), dtype=torch.bool, device=features.device))
        # On a CPU, the backward pass takes up to five times as long in bfloat16 as in float32.
        if features.device.type == "cpu" and query.dtype == torch.bfloat16:
            query, key, value = query.float(), key.float(), value.float()
        with torch.autocast(features.device.type, enabled=False):
            attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible, enable_gqa=True)
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out

    def heads(self, features: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Project features `(B, L, C)` to queries `(B, q, L, d)`, and to keys and values `(B, g, L, d)`."""
        heads = self.to_qkv(features).unflatten(-1, (-1, self.head_channels)).transpose(1, 2)
        query, key, value = heads.split((self.num_heads, self.num_kv_heads, self.num_kv_heads), dim=1)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        return query, key, value


class CausalAttentionWalk:
    """`CausalAttention` front by front, over the keys and values of all places so far.

    `rotation` is that of all positions, `(2, L, d / 2)`.
    """

    def __init__(self, attention: CausalAttention, cursor: Cursor, rotation: Tensor | None = None) -> None:
        self._attention, self._cursor = attention, cursor
        self._rotation = (
            None if rotation is None else functional.pad(rotation[:, cursor.fronts.positions], (0, 0, 0, 1))
        )
        shape = (cursor.batch_size, attention.num_kv_heads, len(cursor.fronts.positions) + 1, attention.head_channels)
        self._keys, self._values = cursor.like.new_zeros(2, *shape)

    def __call__(self, features: Tensor) -> Tensor:
        """Attend at the front, given its features `(n, B, C)`, into the same shape."""
        places, mask = self._cursor.places, self._cursor.mask
        rotation = None if self._rotation is None else self._rotation[:, places]
        query, key, value = self._attention.heads(features.transpose(0, 1), rotation)
        self._keys.index_copy_(2, places, key)
        self._values.index_copy_(2, places, value)
        # Query heads that share a key head take the place of positions, so that one reading serves all of them.
        shared = len(query[0]) // self._keys.shape[1]
        attended = functional.scaled_dot_product_attention(
            query.reshape(len(query), -1, shared * len(places), query.shape[-1]),
            self._keys[:, :, : mask.shape[1]],
            self._values[:, :, : mask.shape[1]],
            attn_mask=mask.repeat(shared, 1),
        )
        out: Tensor = self._attention.to_out(attended.reshape(query.shape).permute(2, 0, 1, 3).flatten(2))
        return out
