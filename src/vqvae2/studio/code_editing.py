"""Change single codes of an image, and see what that does to its pixels.

Shapes: H x W pixels, h x w code grid of a level, K codebook size of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vqvae2.codes import Codes
from vqvae2.errors import ConfigError
from vqvae2.report.pictures import code_colors
from vqvae2.studio.page_parts import enlarge, enlargement

__all__ = ["CellEdit", "Editing", "amplified_difference", "cell_at", "clickable_map"]

_MAP_PIXELS = 384  # longer side: cells are large enough to be hit


class CellEdit(NamedTuple):
    """Another code in one cell."""

    level: int
    row: int
    column: int
    code: int


@dataclass(frozen=True)
class Editing:
    """What one visitor has changed."""

    image: int = 0
    cell: tuple[int, int] | None = None
    """Row and column of the chosen cell, on the level that is shown."""
    edits: tuple[CellEdit, ...] = ()
    """At most one per cell."""

    def at(self, image: int) -> Editing:
        """Go to another image, or to another level of the same one."""
        return replace(self, cell=None) if image == self.image else Editing(image)

    def with_code(self, level: int, code: int) -> Editing:
        """Put a code into the chosen cell.

        Raises:
            ConfigError: If no cell is chosen.
        """
        if self.cell is None:
            raise ConfigError("no cell is chosen; click one of the image's codes first")
        edit = CellEdit(level, *self.cell, code)
        others = (other for other in self.edits if other[:3] != edit[:3])
        return replace(self, edits=(*others, edit))

    def apply(self, codes: Codes) -> Codes:
        """Make the changes in a copy of the codes of the image."""
        maps = [level.clone() for level in codes]
        for edit in self.edits:
            maps[edit.level][:, edit.row, edit.column] = edit.code
        return Codes(tuple(maps))


def amplified_difference(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, float]:
    """Subtract pictures `(H, W, 3)`, and multiply so that the largest difference is white.

    Returns:
        uint8 `(H, W, 3)`, and the factor, 1 if there is no difference.
    """
    moved = np.abs(after.astype(np.int16) - before)
    factor = 255.0 / moved.max() if moved.any() else 1.0
    return (moved * factor).round().astype(np.uint8), factor


def clickable_map(codes: Codes, level: int, *, cell: tuple[int, int] | None) -> np.ndarray:
    """Paint a level's codes of one image, enlarged, with a frame around one cell: uint8 `(h * f, w * f, 3)`."""
    picture = code_colors(codes[level][0].numpy())
    factor = enlargement(picture.shape[0], picture.shape[1], _MAP_PIXELS)
    picture = enlarge(picture, factor)
    if cell is not None and factor > 4:
        top, left = cell[0] * factor, cell[1] * factor
        for inset, grey in ((0, 0), (1, 255), (2, 255)):  # black around white
            rows, columns = [top + inset, top + factor - 1 - inset], [left + inset, left + factor - 1 - inset]
            picture[rows, left + inset : left + factor - inset] = grey
            picture[top + inset : top + factor - inset, columns] = grey
    return picture


def cell_at(point: tuple[float, float], shape: tuple[int, int]) -> tuple[int, int]:
    """Find the row and column of a grid `(h, w)` at a point of its `clickable_map`, x and y in pixels."""
    factor = enlargement(*shape, _MAP_PIXELS)
    column, row = (int(coordinate) // factor for coordinate in point)
    return min(max(row, 0), shape[0] - 1), min(max(column, 0), shape[1] - 1)
