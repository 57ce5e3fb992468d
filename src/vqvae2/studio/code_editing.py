"""Change single codes of an image, and see what that does to its pixels.

Shapes: H x W pixels, h x w code grid of a level, K codebook size of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from vqvae2.codes import Codes
from vqvae2.errors import ConfigError
from vqvae2.images import crop_to
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.report.pictures import code_colors
from vqvae2.studio.pictures import enlarge, to_picture

__all__ = ["CellEdit", "EditedImage", "apply_edits", "cell_at", "clickable_map", "decode_edited"]

_MAP_PIXELS = 384  # of the longer side: cells are large enough to be hit
_WHITE, _BLACK = 255, 0


class CellEdit(NamedTuple):
    """Another code in one cell."""

    level: int
    row: int
    column: int
    code: int


@dataclass(frozen=True, kw_only=True, eq=False)
class EditedImage:
    """What the decoder makes of codes, and of the same codes with some changed; all pictures uint8 `(H, W, 3)`."""

    before: np.ndarray
    after: np.ndarray
    difference: np.ndarray
    """How far each value moved, multiplied by `factor`."""
    factor: float
    """So that the largest difference is white; 1 if there is none."""
    changed_share: float
    """Share of the pixels that are not what they were, 0..1."""


def apply_edits(codes: Codes, edits: Sequence[CellEdit], *, num_embeddings: Sequence[int]) -> Codes:
    """Put other codes into cells of all images of a batch; the last edit of a cell counts.

    Args:
        codes: Stay as they are.
        edits: What to change.
        num_embeddings: K of each level.

    Raises:
        ConfigError: If a cell or a code is not there.
    """
    maps = [level.clone() for level in codes]
    for edit in edits:
        if not 0 <= edit.level < len(maps):
            raise ConfigError(f"`level` must be in 0..{len(maps) - 1}, got {edit.level}")
        height, width = maps[edit.level].shape[1:]
        if not (0 <= edit.row < height and 0 <= edit.column < width):
            raise ConfigError(f"the cell must be in a grid of {height}x{width}, got {edit.row}, {edit.column}")
        if not 0 <= edit.code < num_embeddings[edit.level]:
            raise ConfigError(f"`code` must be in 0..{num_embeddings[edit.level] - 1}, got {edit.code}")
        maps[edit.level][:, edit.row, edit.column] = edit.code
    return Codes(tuple(maps))


@torch.inference_mode()
def decode_edited(pipeline: Pipeline, codes: Codes, edited: Codes, *, size: tuple[int, int]) -> EditedImage:
    """Decode the codes of one image before and after a change, and compare.

    Args:
        pipeline: Whose codes they are.
        codes: Of one image.
        edited: The same, with some codes changed.
        size: Height and width of the image in pixels.
    """
    images = crop_to(pipeline.decode(Codes.concatenate([codes, edited])), *size)
    before, after = (to_picture(image, bit_depth=pipeline.config.bit_depth) for image in images)
    moved = np.abs(after.astype(np.int16) - before)
    factor = 255.0 / moved.max() if moved.any() else 1.0
    return EditedImage(
        before=before,
        after=after,
        difference=(moved * factor).round().astype(np.uint8),
        factor=factor,
        changed_share=float(moved.any(axis=2).mean()),
    )


def clickable_map(codes: Codes, level: int, *, cell: tuple[int, int] | None) -> np.ndarray:
    """Paint a level's codes of one image, enlarged, with a frame around one cell: uint8 `(h * f, w * f, 3)`."""
    picture = code_colors(codes[level][0].numpy())
    factor = _map_factor(*picture.shape[:2])
    picture = enlarge(picture, factor)
    if cell is not None and factor > 4:
        top, left = cell[0] * factor, cell[1] * factor
        for inset, colour in ((0, _BLACK), (1, _WHITE), (2, _WHITE)):
            rows, columns = [top + inset, top + factor - 1 - inset], [left + inset, left + factor - 1 - inset]
            picture[rows, left + inset : left + factor - inset] = colour
            picture[top + inset : top + factor - inset, columns] = colour
    return picture


def cell_at(point: tuple[float, float], shape: tuple[int, int]) -> tuple[int, int]:
    """Say in which row and column of a grid `(h, w)` a point of its `clickable_map` lies, x and y in pixels."""
    x, y = point
    factor = _map_factor(*shape)
    row, column = int(y) // factor, int(x) // factor
    return min(max(row, 0), shape[0] - 1), min(max(column, 0), shape[1] - 1)


def _map_factor(rows: int, columns: int) -> int:
    return max(1, _MAP_PIXELS // max(rows, columns))
