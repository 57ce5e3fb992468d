"""Causal convolution in raster order, split into what lies above and what lies to the left.

Shapes: B images, h x w grid, C channels in, O channels out, k kernel size, p = k // 2 its reach.
Grids are channels last, `(B, h, w, C)`, so that pointwise layers serve a grid and a single position alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CausalConv2d", "CausalConv2dState"]


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
        nn.init.zeros_(self.above.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, grid: Tensor) -> Tensor:
        """Convolve a whole grid `(B, h, w, C)` into `(B, h, w, O)`."""
        features = grid.permute(0, 3, 1, 2)
        height, width = features.shape[-2:]
        p = self.reach
        # Pad on top, then leave the last row out: row r of the result sees rows r - p .. r - 1.
        above = self.above(functional.pad(features, (p, p, p, 0))[:, :, : height + p - 1])
        left_padded = functional.pad(features, (p, 0, 0, 0))
        left = self.left(left_padded if self.sees_center else left_padded[..., : width + p - 1])
        out: Tensor = above + left
        return out.permute(0, 2, 3, 1)


class CausalConv2dState:
    """The same convolution, position by position: the input so far, and the above part of the current row.

    Args:
        convolution: The layer.
        batch_size: B.
        height: h.
        width: w.
    """

    def __init__(self, convolution: CausalConv2d, batch_size: int, height: int, width: int) -> None:
        p = self._reach = convolution.reach
        weight = convolution.above.weight
        self._above_weight, self._above_bias = convolution.above.weight, convolution.above.bias
        # (O, C, 1, taps) to (taps * C, O): one matrix product a position
        self._left_weight = convolution.left.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous()
        self._taps = convolution.left.weight.shape[-1]
        self._input = weight.new_zeros(batch_size, height + p, width + 2 * p, weight.shape[1])
        self._above = weight.new_zeros(batch_size, width, weight.shape[0])

    def start_row(self, row: int) -> None:
        """Compute the above part of a whole row; every position of the rows before must have been written."""
        rows = self._input[:, row : row + self._reach].permute(0, 3, 1, 2)  # (B, C, p, w + 2 p)
        above = functional.conv2d(rows, self._above_weight, self._above_bias)  # (B, O, 1, w)
        self._above.copy_(above[:, :, 0].transpose(1, 2))

    def write(self, row: int, column: int, features: Tensor) -> None:
        """Store the input `(B, C)` of a position."""
        self._input[:, row + self._reach, column + self._reach] = features

    def read(self, row: int, column: int) -> Tensor:
        """Compute the output `(B, O)` of a position from what was written."""
        left = self._input[:, row + self._reach, column : column + self._taps].flatten(1)  # (B, taps * C)
        return torch.addmm(self._above[:, column], left, self._left_weight)
