"""Where the codes of a codebook occur in images, and what they stand for.

Shapes: N images, H x W pixels, h x w code grid of a level, K codebook size of it.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vqvae2.codes import Codes
from vqvae2.config import DecoderName
from vqvae2.images import crop_to, cut_grid, image_grid
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.context import StudioContext
from vqvae2.studio.held_out import find_image_sets
from vqvae2.studio.page_parts import enlarge

__all__ = ["AtlasShelf", "CodeAtlas", "CodebookSheet"]

_BATCH_SIZE = 32
_SHEET_PIXELS = 520  # of a sheet's width
_SHEET_CELLS = 3  # per side: enough of the same code around the middle one for the decoder to settle
_MOST_TILES = 1024
_MOST_FIRST = 64  # most used codes among which the one shown first is chosen
_LEAST_MARGIN_PIXELS = 8  # shown around a cell
_FRAME = np.array([200, 100, 43], dtype=np.uint8)
_MOST_SHELVED = 3


@dataclass(frozen=True, eq=False)
class CodebookSheet:
    """What the codes of a level stand for: a tile for each, row by row."""

    pixels: np.ndarray
    """uint8 `(H', W', 3)`, enlarged."""
    codes: np.ndarray
    """The tiles' codes, the most used first."""
    columns: int
    """Tiles in a row."""

    @property
    def side(self) -> int:
        """Of a tile, in pixels."""
        return self.pixels.shape[1] // self.columns

    def code_at(self, point: tuple[float, float]) -> int:
        """Find the code whose tile holds a point, x and y in pixels; the last code if none does."""
        column, row = (int(coordinate) // self.side for coordinate in point)
        return int(self.codes[min(row * self.columns + min(column, self.columns - 1), len(self.codes) - 1)])

    def first_code(self) -> int:
        """Choose the code that is shown first: of the most used ones, the one whose tile has the most contrast."""
        tiles = cut_grid(self.pixels, (self.side, self.side), gap_pixels=0).reshape(-1, self.side**2, 3)
        contrast = tiles[: min(_MOST_FIRST, len(self.codes))].std(axis=1).sum(axis=1)
        return int(self.codes[contrast.argmax()])


class CodeAtlas:
    """Some images `(N, C, H, W)` in [-1, 1], and the codes that the pipeline makes of them."""

    pixels: np.ndarray
    """uint8 `(N, H, W, 3)`."""
    codes: Codes
    """Of all images, on the CPU."""
    distances: tuple[Tensor, ...]
    """From each cell's encoder output to the vector of its code, float32 `(N, h, w)` per level."""
    usages: tuple[CodebookUsage, ...]
    """How often each code of each level occurs."""
    sheets: tuple[CodebookSheet, ...]
    """One per level."""

    @torch.inference_mode()
    def __init__(self, context: StudioContext, images: Tensor) -> None:
        self._context, config = context, context.pipeline.tokenizer.config
        self._reductions = config.reductions
        self.pixels = np.stack([context.picture(image) for image in images])
        self.codes, self.distances = _encode(context.pipeline, images)
        self.usages = tuple(CodebookUsage(size) for size in config.codebook_sizes)
        for usage, codes in zip(self.usages, self.codes, strict=True):
            usage.update(codes)
        self.sheets = tuple(self._sheet(level) for level in range(config.num_levels))

    def most_used(self, level: int) -> np.ndarray:
        """Give all codes of a level, the most used first, int64 `(K,)`."""
        return np.argsort(-self.usages[level].counts.numpy(), kind="stable")

    def companion(self, level: int, code: int, *, above: int) -> int:
        """Find the code of a level above that covers a code most often; the most used one if it never occurs."""
        lower, upper = self.codes[level], self.codes[above]
        rows, columns = (lower.shape[axis] // upper.shape[axis] for axis in (1, 2))
        over = upper.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)[lower == code]
        counts = torch.bincount(over, minlength=len(self.usages[above].counts))
        return int(counts.argmax()) if len(over) else int(self.most_used(above)[0])

    def patches(self, level: int, code: int, *, most: int = 12) -> np.ndarray:
        """Cut out cells that have a code, those first whose encoder output is nearest to the code's vector.

        Returns:
            uint8 `(n, S, S, 3)`, n at most `most`: cells with their surroundings, each in a frame.
        """
        cells = (self.codes[level] == code).nonzero()  # (n, 3): image, row, column
        order = self.distances[level][tuple(cells.T)].argsort(stable=True)[:most]
        side = self._reductions[level]
        patches = [
            _cut(self.pixels[image], row * side, column * side, side) for image, row, column in cells[order].tolist()
        ]
        return np.stack(patches) if patches else np.zeros((0, side, side, 3), dtype=np.uint8)

    @torch.inference_mode()
    def decode(self, codes: Codes) -> list[np.ndarray]:
        """Decode codes of images of the atlas's size, each uint8 `(H, W, 3)`."""
        images = crop_to(self._context.pipeline.decode(codes), *self.pixels.shape[1:3])
        return [self._context.picture(image) for image in images]

    @torch.inference_mode()
    def alone(self, level: int, code: int) -> np.ndarray:
        """Decode an image whose level holds one code everywhere, uint8 `(H, W, 3)`.

        Each level above holds the code that covers it most often; the levels below are predicted, as in any preview.
        """
        decoded = self._decode_filled(level, [code], self.codes.shapes)
        return self._context.picture(crop_to(decoded, *self.pixels.shape[1:3])[0])

    def _sheet(self, level: int) -> CodebookSheet:
        """Show the middle of what `alone` decodes for each code, the most used first."""
        codes = self.most_used(level)[:_MOST_TILES]
        top = self._reductions[0]
        shapes = tuple((_SHEET_CELLS * top // reduction,) * 2 for reduction in self._reductions)
        start = top * (_SHEET_CELLS // 2)
        middle = slice(start, start + self._reductions[level])
        tiles = [
            self._context.picture(image[:, middle, middle])
            for first in range(0, len(codes), _BATCH_SIZE)
            for image in self._decode_filled(level, codes[first : first + _BATCH_SIZE].tolist(), shapes)
        ]
        columns = max(1, round((2 * len(codes)) ** 0.5))  # about twice as wide as high
        sheet = image_grid(np.stack(tiles), columns=columns, gap_pixels=0)
        return CodebookSheet(enlarge(sheet, max(1, round(_SHEET_PIXELS / sheet.shape[1]))), codes, columns)

    def _decode_filled(self, level: int, codes: Sequence[int], shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Decode an image for each code, which fills the grid of its level: `(n, C, H, W)`."""
        maps = []
        for above in range(level + 1):
            values = codes if above == level else [self.companion(level, code, above=above) for code in codes]
            maps.append(torch.tensor(values)[:, None, None].expand(-1, *shapes[above]).contiguous())
        return self._context.pipeline.decode(Codes(tuple(maps)))


def _encode(pipeline: Pipeline, images: Tensor) -> tuple[Codes, tuple[Tensor, ...]]:
    """Encode images, and measure the distance of each encoder output to its code's vector."""
    # Hooks catch what is quantized. They go on a copy, since other visitors may encode at the same time.
    tokenizer = copy.deepcopy(pipeline.tokenizer)
    features: dict[int, Tensor] = {}
    for level, module in enumerate(tokenizer.to_embedding):
        module.register_forward_hook(
            lambda _module, _inputs, output, level=level: features.__setitem__(level, output.float())
        )
    codes: list[Codes] = []
    distances: list[list[Tensor]] = [[] for _ in tokenizer.quantizers]
    for batch in images.split(_BATCH_SIZE):
        encoded = tokenizer.encode(batch.to(pipeline.device))
        codes.append(encoded.to("cpu"))
        for level, quantizer in enumerate(tokenizer.quantizers):
            vectors: Tensor = quantizer.embed(encoded[level])  # type: ignore[operator]  # a ModuleList forgets its type
            distances[level].append((features[level] - vectors).square().sum(dim=1).sqrt().cpu())
    return Codes.concatenate(codes), tuple(torch.cat(level) for level in distances)


def _cut(pixels: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Cut a cell and its surroundings out of an image `(H, W, 3)` with repeated edges, and frame the cell."""
    margin = max(side, _LEAST_MARGIN_PIXELS)
    # The grid may reach beyond the image.
    below, right = (max(0, start + side - pixels.shape[axis]) for axis, start in enumerate((top, left)))
    padded = np.pad(pixels, ((margin, margin + below), (margin, margin + right), (0, 0)), mode="edge")
    patch = padded[top : top + side + 2 * margin, left : left + side + 2 * margin].copy()
    first, last = margin - 1, margin + side
    patch[[first, last], first : last + 1] = _FRAME
    patch[first : last + 1, [first, last]] = _FRAME
    return patch


class AtlasShelf:
    """Atlases by decoder and set of images, each made when first asked for; the last few are kept for all visitors."""

    def __init__(self, context: StudioContext) -> None:
        self.sets = find_image_sets(context)
        """Functions that read images, by the name of the set."""

        @functools.lru_cache(maxsize=_MOST_SHELVED)
        def make(decoder: DecoderName, name: str) -> CodeAtlas:
            images = self.sets[name]()
            with context.turns.take():
                return CodeAtlas(context.by_decoder[decoder], images)

        self._make, self._lock = make, threading.Lock()

    def __getitem__(self, key: tuple[DecoderName, str]) -> CodeAtlas:
        with self._lock:
            return self._make(*key)
