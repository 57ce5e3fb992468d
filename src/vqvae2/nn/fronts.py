"""The order in which codes are drawn: front by front, all codes of a front at once.

A stack of causal convolutions of reach p sees, of the row above, what lies up to p columns to the right, of the row
above that 2 p columns, and so on. So the positions of equal `column + (p + 1) row` never see each other, however deep
the stack, and a grid takes w + (p + 1) (h - 1) steps instead of h w::

    0 1 2 3 4
    2 3 4 5 6      the fronts of a 3 x 5 grid for reach 1
    4 5 6 7 8

A position is a number in raster order. A place is a number in the order of fronts; within a front, rows go down.

Shapes: h x w code grid, L = h w positions.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

__all__ = ["Fronts", "front_numbers"]


def front_numbers(size: tuple[int, int], reach: int, device: torch.device | None = None) -> Tensor:
    """Number the front of each position of a grid `(h, w)` for reach p: int64 `(L,)`; narrow grids leave some out."""
    rows, columns = (torch.arange(length, device=device) for length in size)
    return (columns + (reach + 1) * rows[:, None]).flatten()


class Fronts:
    """The fronts of a grid, in order; see `front_numbers` for the arguments."""

    def __init__(self, size: tuple[int, int], reach: int, *, device: torch.device | None = None) -> None:
        self.size, self.reach = size, reach
        # Sorted on the CPU, since Python needs the lengths.
        numbers, positions = front_numbers(size, reach).sort(stable=True)
        lengths: list[int] = numbers.unique_consecutive(return_counts=True)[1].tolist()
        self.ends = tuple(accumulate(lengths))
        """For each front, the place after its last one."""
        self.longest = max(lengths)
        """Most positions of a front."""
        self.numbers = numbers.to(device)
        """Front of each place, `(L,)`."""
        self.positions = positions.to(device)
        """Position of each place, `(L,)`."""

    def neighbours(self) -> Tensor:
        """Find what a causal convolution reads at each place.

        Returns:
            Places, int64 `(L, taps)`: those of the rows above, the uppermost first, then those to the left; L + 1 for
            what lies outside of the grid.
        """
        (height, width), p = self.size, self.reach
        places = self.positions.argsort().view(height, width)
        framed = places.new_full((height + p, width + 2 * p), len(self.positions) + 1)
        framed[p:, p : p + width] = places
        # Windows (h, w, p + 1, 2 p + 1) end with the row of the position, which lies in the middle of that row.
        windows = framed.unfold(0, p + 1, 1).unfold(1, 2 * p + 1, 1).reshape(height * width, -1)
        return windows[self.positions, : -p - 1]
