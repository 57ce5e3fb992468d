"""Where the codes of a codebook occur in images, and what they stand for.

Shapes: N images, H x W pixels, h x w code grid of a level, K codebook size of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from vqvae2.codes import Codes
from vqvae2.errors import ConfigError
from vqvae2.images import crop_to
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.pictures import to_picture

__all__ = ["CodeAtlas", "Patches", "code_alone", "codebook_sheet", "make_atlas", "patches_of_code", "sheet_columns"]

_BATCH_SIZE = 32
_SHEET_CELLS = 3  # a side: enough of the same code around the middle one for the decoder to settle
_MOST_TILES = 1024
_LEAST_MARGIN_PIXELS = 8  # shown around a cell
_FRAME = np.array([200, 100, 43], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class CodeAtlas:
    """Some images, and the codes that a pipeline makes of them."""

    pixels: np.ndarray
    """uint8 `(N, H, W, 3)`."""
    codes: Codes
    """Of all images, on the CPU."""
    distances: tuple[Tensor, ...]
    """How far each cell's encoder output is from the vector of its code, float32 `(N, h, w)`, a level."""
    num_embeddings: tuple[int, ...]
    """K of each level."""
    reductions: tuple[int, ...]
    """Pixels a side of the cell that a code of each level stands for."""

    @cached_property
    def usages(self) -> tuple[CodebookUsage, ...]:
        """How often each code of each level occurs."""
        usages = tuple(CodebookUsage(size) for size in self.num_embeddings)
        for usage, codes in zip(usages, self.codes, strict=True):
            usage.update(codes)
        return usages

    def most_used(self, level: int) -> np.ndarray:
        """Give all codes of a level, the most used first, int64 `(K,)`."""
        return np.argsort(-self.usages[level].counts.numpy(), kind="stable")

    def check(self, level: int, code: int) -> None:
        """Refuse a code that is not in a codebook.

        Raises:
            ConfigError: If there is no such level, or no such code.
        """
        if not 0 <= level < len(self.num_embeddings):
            raise ConfigError(f"`level` must be in 0..{len(self.num_embeddings) - 1}, got {level}")
        if not 0 <= code < self.num_embeddings[level]:
            raise ConfigError(f"`code` must be in 0..{self.num_embeddings[level] - 1}, got {code}")

    def companion(self, level: int, code: int, *, above: int) -> int:
        """Find the code of a level above that stands over a code most often; the most used one where it never occurs.

        Args:
            level: Of the code.
            code: In 0..K-1.
            above: A level above, less than `level`.
        """
        lower, upper = self.codes[level], self.codes[above]
        rows, columns = (lower.shape[axis] // upper.shape[axis] for axis in (1, 2))
        over = upper.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)[lower == code]
        counts = torch.bincount(over, minlength=self.num_embeddings[above])
        return int(counts.argmax()) if len(over) else int(self.most_used(above)[0])


@dataclass(frozen=True, eq=False)
class Patches:
    """Cells of images that have one code, with what is around them."""

    pixels: np.ndarray
    """uint8 `(n, S, S, 3)`; a frame is drawn around the cell in the middle."""
    total: int
    """How many cells have the code."""


@torch.inference_mode()
def make_atlas(pipeline: Pipeline, images: Tensor) -> CodeAtlas:
    """Encode images.

    Args:
        pipeline: Whose codes are looked at.
        images: `(N, C, H, W)` in [-1, 1].
    """
    # The quantizers tell what they are given by hooks, on a copy, since other visitors may encode at the same time.
    tokenizer = copy.deepcopy(pipeline.tokenizer)
    features: dict[int, Tensor] = {}
    for level, quantizer in enumerate(tokenizer.quantizers):
        quantizer.register_forward_hook(
            lambda _module, inputs, _output, level=level: features.__setitem__(level, inputs[0])
        )
    codes, distances = [], []
    for batch in images.split(_BATCH_SIZE):
        encoded = tokenizer.encode(batch.to(pipeline.device))
        codes.append(encoded.to("cpu"))
        distances.append([_distances(tokenizer, level, features[level], encoded[level]) for level in sorted(features)])
    return CodeAtlas(
        pixels=np.stack([to_picture(image, bit_depth=pipeline.config.bit_depth) for image in images]),
        codes=Codes.concatenate(codes),
        distances=tuple(torch.cat(level) for level in zip(*distances, strict=True)),
        num_embeddings=pipeline.tokenizer.config.codebook_sizes,
        reductions=pipeline.tokenizer.config.reductions,
    )


def _distances(tokenizer: VQVAE2, level: int, features: Tensor, codes: Tensor) -> Tensor:
    quantizer = _quantizer(tokenizer, level)
    vectors: Tensor = quantizer.embed(codes)  # type: ignore[operator]  # a ModuleList forgets what its modules can do
    return (features.float() - vectors).square().sum(dim=1).sqrt().cpu()


def _quantizer(tokenizer: VQVAE2, level: int) -> nn.Module:
    return tokenizer.quantizers[level]


def patches_of_code(atlas: CodeAtlas, level: int, code: int, *, most: int = 12) -> Patches:
    """Cut cells out of images that have a code, those first whose encoder output is nearest to the code's vector.

    Args:
        atlas: The images.
        level: 0 is the top.
        code: In 0..K-1.
        most: How many are given.

    Raises:
        ConfigError: If there is no such level, or no such code.
    """
    atlas.check(level, code)
    cells = (atlas.codes[level] == code).nonzero()  # (n, 3): image, row, column
    order = atlas.distances[level][tuple(cells.T)].argsort(stable=True)[:most]
    side = atlas.reductions[level]
    patches = [
        _cut(atlas.pixels[image], row * side, column * side, side) for image, row, column in cells[order].tolist()
    ]
    if not patches:
        return Patches(np.zeros((0, side, side, 3), dtype=np.uint8), 0)
    return Patches(np.stack(patches), len(cells))


def _cut(pixels: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Cut a cell and what is around it out of an image `(H, W, 3)`, whose edges are repeated, and frame the cell."""
    margin = max(side, _LEAST_MARGIN_PIXELS)
    # The grid may cover more than the image.
    below, right = (max(0, start + side - pixels.shape[axis]) for axis, start in enumerate((top, left)))
    padded = np.pad(pixels, ((margin, margin + below), (margin, margin + right), (0, 0)), mode="edge")
    patch = padded[top : top + side + 2 * margin, left : left + side + 2 * margin].copy()
    first, last = margin - 1, margin + side
    patch[[first, last], first : last + 1] = _FRAME
    patch[first : last + 1, [first, last]] = _FRAME
    return patch


@torch.inference_mode()
def code_alone(pipeline: Pipeline, atlas: CodeAtlas, level: int, code: int) -> np.ndarray:
    """Decode an image whose level holds one code everywhere, uint8 `(H, W, 3)`.

    Each level above holds the code that stands over it most often, and for the levels below stands what is expected.

    Raises:
        ConfigError: If there is no such level, or no such code.
    """
    atlas.check(level, code)
    decoded = _decode_tiles(pipeline, atlas, level, [code], atlas.codes.shapes)
    height, width = atlas.pixels.shape[1:3]
    return to_picture(crop_to(decoded, height, width)[0], bit_depth=pipeline.config.bit_depth)


@torch.inference_mode()
def codebook_sheet(pipeline: Pipeline, atlas: CodeAtlas, level: int) -> np.ndarray:
    """Show what each code of a level stands for, the most used first, row by row: uint8 `(H', W', 3)`.

    Each tile is the middle of what `code_alone` decodes; those of very large codebooks are left out at the end.
    """
    codes = atlas.most_used(level)[:_MOST_TILES].tolist()
    reductions = pipeline.tokenizer.config.reductions
    shapes = tuple((_SHEET_CELLS * reductions[0] // reduction,) * 2 for reduction in reductions)
    tiles = []
    for start in range(0, len(codes), _BATCH_SIZE):
        decoded = _decode_tiles(pipeline, atlas, level, codes[start : start + _BATCH_SIZE], shapes)
        middle = reductions[0] * (_SHEET_CELLS // 2)
        side = reductions[level]
        tiles += [
            to_picture(image[:, middle : middle + side, middle : middle + side], bit_depth=pipeline.config.bit_depth)
            for image in decoded
        ]
    columns = sheet_columns(len(codes))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def sheet_columns(num_codes: int) -> int:
    """Say how many tiles stand in a row of a sheet: twice as many as there are rows, or nearly so."""
    return max(1, round((2 * min(num_codes, _MOST_TILES)) ** 0.5))


def _decode_tiles(
    pipeline: Pipeline, atlas: CodeAtlas, level: int, codes: Sequence[int], shapes: Sequence[tuple[int, int]]
) -> Tensor:
    """Decode an image for each code, which fills the grid of its level: `(n, C, H, W)`."""
    maps = []
    for above in range(level + 1):
        values = codes if above == level else [atlas.companion(level, code, above=above) for code in codes]
        maps.append(torch.tensor(values)[:, None, None].expand(-1, *shapes[above]).contiguous())
    return pipeline.decode(Codes(tuple(maps)))
