"""Atlases of sets of images, which all visitors share.

Shapes: H x W pixels.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from vqvae2.studio.code_atlas import CodeAtlas, codebook_sheet, make_atlas
from vqvae2.studio.context import StudioContext
from vqvae2.studio.image_sets import find_image_sets
from vqvae2.studio.pictures import enlarge

__all__ = ["AtlasShelf"]

_SHEET_PIXELS = 520  # of a sheet's width
_MOST_SHELVED = 3


@dataclass(frozen=True, eq=False)
class _Shelved:
    atlas: CodeAtlas
    sheets: tuple[np.ndarray, ...]
    """Enlarged, one a level."""


class AtlasShelf:
    """Atlases of sets of images, each made when it is first asked for; the last few are kept.

    Args:
        context: Whose pipeline makes the codes.
    """

    def __init__(self, context: StudioContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._shelf: dict[str, _Shelved] = {}
        self.sets = find_image_sets(context.pipeline, context.source, context.runs_folder)

    def atlas(self, name: str) -> CodeAtlas:
        """Give the atlas of a set."""
        return self._take(name).atlas

    def sheet(self, name: str, level: int) -> np.ndarray:
        """Give the sheet of a level, enlarged: uint8 `(H, W, 3)`."""
        return self._take(name).sheets[level]

    def _take(self, name: str) -> _Shelved:
        with self._lock:
            if name not in self._shelf:
                images, pipeline = self.sets[name](), self._context.pipeline
                with self._context.turns.take():
                    atlas = make_atlas(pipeline, images)
                    sheets = [codebook_sheet(pipeline, atlas, level) for level in range(len(atlas.codes))]
                enlarged = tuple(enlarge(sheet, max(1, round(_SHEET_PIXELS / sheet.shape[1]))) for sheet in sheets)
                while len(self._shelf) >= _MOST_SHELVED:
                    del self._shelf[next(iter(self._shelf))]
                self._shelf[name] = _Shelved(atlas, enlarged)
            return self._shelf[name]
