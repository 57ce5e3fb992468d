"""The codes of a whole set of images on disk, at most two bytes per code.

Shapes: N images, V views of each, h x w code grid of a level, K codes of its codebook.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from annotated_types import Len
from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from vqvae2.codes import Codes
from vqvae2.config import ExtractionConfig
from vqvae2.data.collection import Collection, CollectionHeader
from vqvae2.data.prepared import Images
from vqvae2.data.stores.files import open_array, read_header
from vqvae2.data.stores.growing import GrowingArrays
from vqvae2.errors import CheckpointError, ConfigError, DataError
from vqvae2.system.processes import first_decides

__all__ = ["CodeStore", "CodeStoreWriter", "create_code_store"]

_MAGIC, _VERSION = "vqvae2.codes", 3
_MAX_EMBEDDINGS = 2**16  # that fit two bytes


class _Header(CollectionHeader):
    tokenizer: str
    num_embeddings: list[Annotated[int, Field(ge=2, le=_MAX_EMBEDDINGS)]]
    shapes: Annotated[list[Annotated[list[PositiveInt], Len(2, 2)]], Len(1)]
    checksums: list[str]
    extraction: Annotated[ExtractionConfig, BeforeValidator(ExtractionConfig.from_dict)]

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if not len(self.num_embeddings) == len(self.checksums) == len(self.shapes):
            raise ValueError("every list must have one entry per level")
        return self


@dataclass(frozen=True, eq=False, kw_only=True)
class CodeStore(Collection):
    """A folder with `level0.npy` (the top), `level1.npy`, ... and `codes.json`, mapped into memory.

    Views lie beside their image: an encoder gives a mirrored image other codes than the mirrored ones.
    """

    maps: tuple[np.ndarray, ...]
    """uint8 or uint16 `(N, V, h, w)`, one per level, top first. The first view is the image itself, as are all views of
    a held-out image."""
    num_embeddings: tuple[int, ...]
    """K of each level."""
    fingerprint: str
    """Of the tokenizer that made the codes."""
    extraction: ExtractionConfig = ExtractionConfig()
    """Says which views there are."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Grid `(h, w)` of each level, top first."""
        return tuple((level.shape[2], level.shape[3]) for level in self.maps)

    def batch(self, indices: np.ndarray, views: np.ndarray | int = 0) -> Codes:
        """Read the codes of some images by their numbers `(B,)`, of one view each; view 0 is the image itself."""
        return Codes(tuple(torch.from_numpy(level[indices, views].astype(np.int64)) for level in self.maps))

    def require_tokenizer(self, fingerprint: str) -> None:
        """Refuse codes of another tokenizer.

        Raises:
            CheckpointError: If the fingerprints differ.
        """
        if fingerprint != self.fingerprint:
            raise CheckpointError(
                f"the codes were made by tokenizer {self.fingerprint}, but this is tokenizer {fingerprint}; "
                "delete the codes and extract them again"
            )

    @classmethod
    def open(cls, directory: Path) -> CodeStore:
        """Open a store, and check the codes against their checksums.

        Raises:
            DataError: If it is missing, damaged or of another format.
        """
        header = read_header(directory / "codes.json", _MAGIC, _VERSION, _Header)
        return cls(
            maps=tuple(_open_level(directory, level, header) for level in range(len(header.shapes))),
            num_embeddings=tuple(header.num_embeddings),
            fingerprint=header.tokenizer,
            extraction=header.extraction,
            **header.fields(),
        )


class CodeStoreWriter:
    """Fills a new store in the order of the images; made by `create_code_store`."""

    def __init__(self, arrays: GrowingArrays, num_embeddings: Sequence[int], num_views: int) -> None:
        self._arrays, self._num_embeddings, self._num_views = arrays, num_embeddings, num_views

    @property
    def num_images(self) -> int:
        """Images whose codes are stored already, also by an attempt that was stopped."""
        return self._arrays.num_rows

    def append(self, *views: Codes) -> None:
        """Store the codes of the next images, of all their views.

        Raises:
            DataError: If a code lies beyond its level's codebook.
            ValueError: If there are more or fewer views than the store keeps.
        """
        if len(views) != self._num_views:
            raise ValueError(f"`views` must be the {self._num_views} that `extraction` asks for, got {len(views)}")
        rows = {}
        for level, (*grids, size) in enumerate(zip(*views, self._num_embeddings, strict=True)):
            grid = torch.stack(grids, 1)
            low, high = int(grid.min()), int(grid.max())
            if low < 0 or high >= size:  # NumPy would wrap them round silently
                raise DataError(
                    f"`views` must have codes in 0..{size - 1} at level {level}, got {low}..{high}; "
                    "give the `num_embeddings` of the tokenizer that made them"
                )
            rows[f"level{level}"] = grid.numpy()
        self._arrays.append(**rows)


@contextmanager
def create_code_store(
    directory: Path,
    images: Images,
    *,
    shapes: Sequence[tuple[int, int]],
    num_embeddings: Sequence[int],
    fingerprint: str,
    extraction: ExtractionConfig,
) -> Iterator[CodeStoreWriter]:
    """Open a new store for writing, or one that was stopped; it appears at the end, when all images are there.

    The first of several processes writes; all must make the same calls.

    Args:
        directory: Where it appears.
        images: The images whose codes they are; names, classes and split are taken from them.
        shapes: Grid `(h, w)` of each level, top first.
        num_embeddings: K of each level, at most 65,536.
        fingerprint: Of the tokenizer.
        extraction: Which views are kept.

    Raises:
        ConfigError: If a code does not fit two bytes.
        DataError: If an image was left out, or a code lies beyond its codebook.
    """
    if max(num_embeddings) > _MAX_EMBEDDINGS:
        raise ConfigError(f"`num_embeddings` must be at most 65536 to fit two bytes, got {max(num_embeddings)}")
    wanted: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {}
    for level, (shape, size) in enumerate(zip(shapes, num_embeddings, strict=True)):
        dtype = np.uint8 if size <= 256 else np.uint16
        wanted[f"level{level}"] = ((images.num_images, extraction.num_views, *shape), dtype)
    names = hashlib.blake2b("\0".join(images.names).encode(), digest_size=16).hexdigest()
    identity = {"tokenizer": fingerprint, "names": names, "extraction": json.dumps(extraction.to_dict())}
    with GrowingArrays(directory, wanted, identity=identity) as arrays:
        yield CodeStoreWriter(arrays, num_embeddings, extraction.num_views)
        if arrays.num_rows < images.num_images:
            raise DataError(
                f"the codes of {images.num_images - arrays.num_rows} of {images.num_images} images are missing"
            )
        header = {
            "tokenizer": fingerprint,
            "num_embeddings": list(num_embeddings),
            "shapes": [list(shape) for shape in shapes],
            **images.to_header(),
            "checksums": first_decides(lambda: [_checksum(array) for array in arrays.arrays.values()]),
            "extraction": extraction.to_dict(),
        }
        arrays.finish("codes.json", _MAGIC, _VERSION, header)


def _open_level(directory: Path, level: int, header: _Header) -> np.ndarray:
    path = directory / f"level{level}.npy"
    shape = (len(header.names), header.extraction.num_views, *header.shapes[level])
    codes = open_array(path, shape=shape, dtypes=(np.uint8, np.uint16))
    if _checksum(codes) != header.checksums[level]:
        raise DataError(f"{path} does not match its checksum; delete {directory} and extract the codes again")
    size = header.num_embeddings[level]
    if any(part.max() >= size for part in _parts(codes)):
        raise DataError(
            f"{path} holds codes beyond its codebook of {size}; delete {directory} and extract the codes again"
        )
    return codes


def _checksum(codes: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(codes):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _parts(codes: np.ndarray) -> Iterator[np.ndarray]:
    """Cut the codes into some images at a time, so that little of the file is in memory."""
    for start in range(0, len(codes), 4096):
        yield codes[start : start + 4096]
