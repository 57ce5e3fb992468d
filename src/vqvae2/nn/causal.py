"""The causal layers of priors: convolution and self-attention, over whole grids and front by front.

A convolution is split into what lies above and what lies to the left. Its grids are channels last, `(B, h, w, C)`, so
that pointwise layers serve a grid and a front alike. See `nn/fronts.py` for the order of a walk, and for its places.

Shapes: B images, h x w grid, L = h w positions, n positions of a front. Convolution: C channels in, O channels out, k
kernel size, p = k // 2 its reach. Attention: C channels, q query heads of d = C / q channels, g key-value heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.nn.dropout import random_mask
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
    """Where a walk stands: what the layers of a walk share.

    Features of a front are rows `(n B, C)`, position after position. A grid of a walk keeps, as rows per place, what
    later fronts read: convolutions see few fronts, so their places take turns in a ring. Two rows follow it: one
    takes what pads a front, and one stays zero for what lies outside of the grid. `like` has the device and dtype.
    """

    def __init__(self, fronts: Fronts, batch_size: int, *, like: Tensor) -> None:
        self.fronts, self.batch_size, self.like = fronts, batch_size, like.new_empty(0)
        length, p = len(fronts.positions), fronts.reach
        # The farthest neighbour lies p rows up and p columns to the left, so p (p + 2) fronts back.
        self.ring_size = min(length, fronts.longest * (p * (p + 2) + 1))
        self._all_places = all_places = torch.arange(length + 2, device=like.device)
        self.ring = torch.where(all_places < length, all_places % self.ring_size, all_places - length + self.ring_size)
        """Row of each place, `(L + 2,)`."""
        neighbours = functional.pad(fronts.neighbours(), (0, 0, 0, 1), value=length + 1)
        self._reads = self.ring[neighbours] * batch_size  # (L + 1, taps)
        self._images = torch.arange(batch_size, device=like.device)[:, None]
        # What pads a front sees all places, and none sees it.
        self._numbers = functional.pad(fronts.numbers, (0, 1), value=torch.iinfo(torch.int32).max)  # (L + 1,)

    def move(self, places: Tensor, end: int) -> None:
        """Go to a front, given its places `(n,)` and the place after the last one that attention reads."""
        self.places, self.end = places, end
        self.reads = self._reads.index_select(0, places)[:, None] + self._images
        """Rows `(n, B, taps)` of the ring, of all images, that a convolution reads beside the centre."""
        self._mask: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """What to add to the logits of attention: `(n, end)`, 0 for earlier fronts and the position itself."""
        if self._mask is None:
            seen = self._numbers[: self.end] < self._numbers[self.places, None]
            seen |= self._all_places[: self.end] == self.places[:, None]
            self._mask = torch.zeros_like(seen, dtype=self.like.dtype).masked_fill_(~seen, -torch.inf)
        return self._mask


class CausalConv2dWalk:
    """N convolutions of one shape, front by front, each over its own grid.

    Their inputs at the neighbours are known before the first layer runs, so one gather and one product serve all
    layers. Only the centre tap remains between two layers. `bias`, `(N, B or 1, O)`, replaces that of the layers.
    """

    _MOST_GATHERED = 1 << 22  # elements at a time, so that a cache holds them: 16 MiB in float32

    def __init__(self, convolutions: Sequence[CausalConv2d], cursor: Cursor, *, bias: Tensor) -> None:
        self._cursor = cursor
        above = torch.stack([layer.above.weight for layer in convolutions]).permute(0, 1, 3, 4, 2).flatten(2)
        left = torch.stack([layer.left.weight[:, :, 0] for layer in convolutions]).transpose(2, 3)  # (N, O, taps, C)
        p = cursor.fronts.reach
        self._weight = torch.cat((above, left[:, :, :p].flatten(2)), dim=2).transpose(1, 2)  # (N, taps C, O)
        sees_center = convolutions[0].sees_center
        self.center_weights = left[:, :, p].transpose(1, 2).contiguous().unbind() if sees_center else ()
        self._bias = bias
        self._grids = left.new_zeros(len(convolutions), (cursor.ring_size + 2) * cursor.batch_size, left.shape[-1])

    def known(self) -> Iterator[Tensor]:
        """Yield what is known of each layer's outputs `(n B, O)` before the step: all but its centre tap."""
        reads = self._cursor.reads.flatten(0, 1)  # (n B, taps)
        num_parts = -(-len(self._grids) * reads.numel() * self._grids.shape[2] // self._MOST_GATHERED)
        count = -(-len(self._grids) // num_parts)
        parts = (tensor.split(count) for tensor in (self._grids, self._weight, self._bias))
        for grids, weight, bias in zip(*parts, strict=True):
            inputs = grids.index_select(1, reads.flatten()).view(len(grids), len(reads), -1)
            if bias.shape[1] > 1:
                bias = bias.repeat(1, len(self._cursor.places), 1)
            yield from torch.baddbmm(bias, inputs, weight)

    def write(self, places: Tensor, features: Tensor) -> None:
        """Store the inputs `(N, n B, C)` of a front."""
        grids, front = (rows.unflatten(1, (-1, self._cursor.batch_size)) for rows in (self._grids, features))
        grids.index_copy_(1, self._cursor.ring.index_select(0, places), front)


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
        """Attend over positions `(B, L, C)`, of which each sees those that its row of `visible` names, bool `(L, L)`.

        The result has the same shape; add it to the residual stream. `rotation` is that of `rotations`.
        """
        query, key, value = self.heads(features, rotation)
        if self.training and self.dropout:
            kept = random_mask((len(features), 1, *visible.shape), self.dropout, features.device)
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
    """`CausalAttention` front by front, over the keys and values of all places so far."""

    def __init__(self, attention: CausalAttention, cursor: Cursor, rotation: Tensor | None = None) -> None:
        self._attention, self._cursor = attention, cursor
        positions = cursor.fronts.positions
        self._rotation = None if rotation is None else functional.pad(rotation[:, positions], (0, 0, 0, 1))
        shape = (cursor.batch_size, attention.num_kv_heads, len(positions) + 1, attention.head_channels)
        self._keys, self._values = cursor.like.new_zeros(2, *shape)

    def __call__(self, features: Tensor) -> Tensor:
        """Attend at the front, given its features `(n B, C)`, into the same shape."""
        places, end = self._cursor.places, self._cursor.end
        rotation = None if self._rotation is None else self._rotation[:, places]
        features = features.unflatten(0, (-1, self._cursor.batch_size)).transpose(0, 1)
        query, key, value = self._attention.heads(features, rotation)
        self._keys.index_copy_(2, places, key)
        self._values.index_copy_(2, places, value)
        # Query heads that share a key head take the place of positions, so that one reading serves all of them.
        shared = query.shape[1] // key.shape[1]
        attended = functional.scaled_dot_product_attention(
            query.reshape(*key.shape[:2], shared * len(places), -1),
            self._keys[:, :, :end],
            self._values[:, :, :end],
            attn_mask=self._cursor.mask.repeat(shared, 1),
        )
        out: Tensor = self._attention.to_out(attended.reshape(query.shape).permute(2, 0, 1, 3).flatten(0, 1).flatten(1))
        return out
