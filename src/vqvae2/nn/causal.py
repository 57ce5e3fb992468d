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
