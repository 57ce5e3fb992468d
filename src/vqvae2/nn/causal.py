"""Causal convolution in raster order, split into what lies above and what lies to the left.

Shapes: B images, h x w grid, C channels in, O channels out, k kernel size, p = k // 2 its reach, N layers.
Grids are channels last, `(B, h, w, C)`, so that pointwise layers serve a grid and a single position alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CausalConv2d", "CausalConv2dWalk"]


class CausalConv2d(nn.Module):
    """A k x k convolution that sees the p rows above, and p positions to the left in its own row.

    ::

        a a a a a
        a a a a a      a: the above part, whole rows, all known once the row before is done
        l l c . .      l: the left part; c: the position itself, only if `sees_center`

    Both parts are stored without the masked half of the kernel, so neither training nor sampling multiplies by
    masked zeros. The first layer over codes must not see the position itself; every later layer may, since
    what lies there depends on earlier codes only (van den Oord et al. 2016, masks A and B).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: k, odd.
        sees_center: Whether the position itself is seen.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, sees_center: bool) -> None:
        super().__init__()
        self.reach = kernel_size // 2
        self.sees_center = sees_center
        self.above = nn.Conv2d(in_channels, out_channels, (self.reach, kernel_size))
        self.left = nn.Conv2d(in_channels, out_channels, (1, self.reach + sees_center), bias=False)
        taps = self.reach * kernel_size + self.reach + sees_center
        for weight in (self.above.weight, self.left.weight):  # one fan-in over both parts
            nn.init.normal_(weight, std=(taps * in_channels) ** -0.5)
        nn.init.zeros_(self.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def bias(self) -> Tensor:
        """Added to every output, `(O,)`."""
        bias = self.above.bias
        assert bias is not None
        return bias

    def forward(self, grid: Tensor) -> Tensor:
        """Convolve a whole grid `(B, h, w, C)` into `(B, h, w, O)`."""
        features = grid.permute(0, 3, 1, 2)
        height, width = features.shape[-2:]
        p = self.reach
        # Pad on top, then leave the last row out: row r of the result sees rows r - p .. r - 1.
        out: Tensor = self.above(functional.pad(features, (p, p, p, 0))[:, :, : height + p - 1])
        left_padded = functional.pad(features, (p, 0, 0, 0))
        out += self.left(left_padded if self.sees_center else left_padded[..., : width + p - 1])
        return out.permute(0, 2, 3, 1)


class CausalConv2dWalk:
    """N convolutions of one shape, position by position, each over its own grid.

    The above parts are computed once a row, for the whole row; the left neighbours' part once a position, for all
    layers at once, since those inputs are known before the first layer runs; only the centre tap is left to do
    between two layers. Everything lies in buffers that stay where they are, and columns are tensors, so that a
    step can be captured or compiled.

    Args:
        convolutions: The layers.
        batch_size: B.
        width: w.
        bias: `(N, B, O)` or `(N, 1, O)`, added to every output in place of the layers' own bias.
    """

    def __init__(self, convolutions: Sequence[CausalConv2d], batch_size: int, width: int, *, bias: Tensor) -> None:
        first = convolutions[0]
        p = self._reach = first.reach
        out_channels, channels = first.left.weight.shape[:2]
        # (O, C, p, k) to (p k C, O): a view, since weights are channels last
        self._above_weights = [layer.above.weight.permute(0, 2, 3, 1).flatten(1).t() for layer in convolutions]
        left = torch.stack([layer.left.weight[:, :, 0].permute(2, 1, 0) for layer in convolutions])  # (N, taps, C, O)
        self._left_weight = left[:, :p].flatten(1, 2).contiguous()  # (N, p C, O)
        self.center_weights = left[:, p].contiguous().unbind() if first.sees_center else ()
        self._bias = bias[:, :, None]
        num_layers = len(convolutions)
        self._rows_above = left.new_zeros(num_layers, p, batch_size, width + 2 * p, channels)  # row r lies at r % p
        self._row = left.new_zeros(num_layers, batch_size, p + width, channels)
        self._above = left.new_zeros(num_layers, batch_size, width, out_channels)
        self._patches = left.new_zeros(batch_size, width, p, first.above.kernel_size[1], channels)
        self._taps = torch.arange(p + 1, device=left.device)

    @property
    def num_bytes(self) -> int:
        """Memory of all buffers."""
        return sum(buffer.nbytes for buffer in (self._rows_above, self._row, self._above, self._patches))

    def start_row(self, row: int) -> None:
        """Compute the above parts of a whole row; every position of the row before must have been written."""
        p = self._reach
        self._above.copy_(self._bias)
        if not row:
            return
        self._rows_above[:, (row - 1) % p, :, p:-p] = self._row[:, :, p:]
        for rows, weight, above in zip(self._rows_above, self._above_weights, self._above, strict=True):
            for offset in range(p):  # the oldest row first, as the kernel has them
                windows = rows[(row + offset) % p].unfold(1, 2 * p + 1, 1)  # (B, w, C, k)
                self._patches[:, :, offset] = windows.transpose(2, 3)
            above.flatten(0, 1).addmm_(self._patches.flatten(2).flatten(0, 1), weight)

    def known(self, column: Tensor) -> tuple[Tensor, ...]:
        """Compute the part of a column's outputs that is known before the step: `(B, O)` a layer.

        What is missing where the layers see the centre is the product of their input there with `center_weights`,
        `(C, O)` each.

        Args:
            column: int64 `(1,)`.
        """
        neighbours = self._row.index_select(2, self._taps[:-1] + column).flatten(2)  # (N, B, p C)
        return self._above.index_select(2, column)[:, :, 0].baddbmm_(neighbours, self._left_weight).unbind()

    def write(self, column: Tensor, features: Tensor) -> None:
        """Store the inputs `(N, B, C)` of a column, an int64 `(1,)`."""
        self._row.index_copy_(2, self._taps[-1:] + column, features[:, :, None])
