"""The codes of a whole set of images on disk, at most two bytes per code.

Shapes: N images, h x w code grid of a level, K codes of its codebook.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from annotated_types import Len
from pydantic import Field, PositiveInt, model_validator

from vqvae2.codes import Codes
from vqvae2.data.collection import Collection, CollectionHeader
from vqvae2.data.prepared import Images
from vqvae2.data.stores.files import open_array, read_header
from vqvae2.data.stores.growing import GrowingArrays
from vqvae2.errors import CheckpointError, ConfigError, DataError
from vqvae2.system.processes import first_decides

__all__ = ["CodeStore", "CodeStoreWriter", "create_code_store"]

_MAGIC, _VERSION = "vqvae2.codes", 2
_MAX_EMBEDDINGS = 2**16  # that fit two bytes


class _Header(CollectionHeader):
    tokenizer: str
    num_embeddings: list[Annotated[int, Field(ge=2, le=_MAX_EMBEDDINGS)]]
    shapes: Annotated[list[Annotated[list[PositiveInt], Len(2, 2)]], Len(1)]
    checksums: list[str]
    flipped_checksums: list[str]

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        lists = (self.num_embeddings, self.checksums, self.flipped_checksums or self.shapes)
        if any(len(values) != len(self.shapes) for values in lists):
            raise ValueError("every list must have one entry per level")
        return self


@dataclass(frozen=True, eq=False, kw_only=True)
class CodeStore(Collection):
    """A folder with `level0.npy` (the top), `level1.npy`, ... and `codes.json`, mapped into memory.

    Beside them may lie `level0_flipped.npy`, ..., the codes of the mirrored images: an encoder does not give a mirrored
    image the mirrored codes.
    """

    maps: tuple[np.ndarray, ...]
    """uint8 or uint16 `(N, h, w)`, one per level, top first."""
    num_embeddings: tuple[int, ...]
    """K of each level."""
    fingerprint: str
    """Of the tokenizer that made the codes."""
    flipped_maps: tuple[np.ndarray, ...] = ()
    """Like `maps`, of the images mirrored left to right; empty if these were not encoded."""

    @property
    def has_flipped(self) -> bool:
        return bool(self.flipped_maps)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Grid `(h, w)` of each level, top first."""
        return tuple((level.shape[1], level.shape[2]) for level in self.maps)

    def batch(self, indices: np.ndarray, *, flipped: bool = False) -> Codes:
        """Read the codes of some images, or of their mirrored copies, by their numbers `(B,)`."""
        maps = self.flipped_maps if flipped else self.maps
        return Codes(tuple(torch.from_numpy(level[indices].astype(np.int64)) for level in maps))

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
        maps, flipped_maps = (
            tuple(_open_level(directory, level, checksum, header, flipped=flipped) for level, checksum in enumerate(of))
            for flipped, of in ((False, header.checksums), (True, header.flipped_checksums))
        )
        return cls(
            maps=maps,
            num_embeddings=tuple(header.num_embeddings),
            fingerprint=header.tokenizer,
            flipped_maps=flipped_maps,
            **header.fields(),
        )


class CodeStoreWriter:
    """Fills a new store in the order of the images; made by `create_code_store`."""

    def __init__(self, arrays: GrowingArrays, num_embeddings: Sequence[int], *, with_flipped: bool) -> None:
        self._arrays, self._num_embeddings, self._with_flipped = arrays, num_embeddings, with_flipped

    @property
    def num_images(self) -> int:
        """Images whose codes are stored already, also by an attempt that was stopped."""
        return self._arrays.num_rows

    def append(self, codes: Codes, flipped: Codes | None = None) -> None:
        """Store the codes of the next images.

        Args:
            codes: Of the images.
            flipped: Of the mirrored images, where the store keeps these.

        Raises:
            DataError: If a code lies beyond its level's codebook.
            ValueError: If `flipped` is missing where the store keeps it, or given where it does not.
        """
        if (flipped is not None) != self._with_flipped:
            wanted = "the codes of the mirrored images" if self._with_flipped else "None"
            raise ValueError(f"`flipped` must be {wanted}, as `with_flipped` of the store says")
        rows = {}
        for name, batch in (("codes", codes), ("flipped", flipped)):
            for level, (grid, size) in enumerate(zip(batch or (), self._num_embeddings, strict=batch is not None)):
                low, high = int(grid.min()), int(grid.max())
                if low < 0 or high >= size:  # NumPy would wrap them round silently
                    raise DataError(
                        f"`{name}[{level}]` must be in 0..{size - 1}, got {low}..{high}; "
                        "give the `num_embeddings` of the tokenizer that made them"
                    )
                rows[_array_name(level, flipped=name == "flipped")] = grid.numpy()
        self._arrays.append(**rows)


@contextmanager
def create_code_store(
    directory: Path,
    images: Images,
    *,
    shapes: Sequence[tuple[int, int]],
    num_embeddings: Sequence[int],
    fingerprint: str,
    with_flipped: bool = False,
) -> Iterator[CodeStoreWriter]:
    """Open a new store for writing, or one that was stopped; it appears at the end, when all images are there.

    The first of several processes writes; all must make the same calls.

    Args:
        directory: Where it appears.
        images: The images whose codes they are; names, classes and split are taken from them.
        shapes: Grid `(h, w)` of each level, top first.
        num_embeddings: K of each level, at most 65,536.
        fingerprint: Of the tokenizer.
        with_flipped: Whether the codes of the mirrored images are kept too.

    Raises:
        ConfigError: If a code does not fit two bytes.
        DataError: If an image was left out, or a code lies beyond its codebook.
    """
    if max(num_embeddings) > _MAX_EMBEDDINGS:
        raise ConfigError(f"`num_embeddings` must be at most 65536 to fit two bytes, got {max(num_embeddings)}")
    wanted: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {}
    for flipped in (False, True)[: 1 + with_flipped]:
        for level, (shape, size) in enumerate(zip(shapes, num_embeddings, strict=True)):
            dtype = np.uint8 if size <= 256 else np.uint16
            wanted[_array_name(level, flipped=flipped)] = ((images.num_images, *shape), dtype)
    names = hashlib.blake2b("\0".join(images.names).encode(), digest_size=16).hexdigest()
    with GrowingArrays(directory, wanted, identity={"tokenizer": fingerprint, "names": names}) as arrays:
        yield CodeStoreWriter(arrays, num_embeddings, with_flipped=with_flipped)
        if arrays.num_rows < images.num_images:
            raise DataError(
                f"the codes of {images.num_images - arrays.num_rows} of {images.num_images} images are missing"
            )
        checksums = first_decides(lambda: [_checksum(array) for array in arrays.arrays.values()])
        header = {
            "tokenizer": fingerprint,
            "num_embeddings": list(num_embeddings),
            "shapes": [list(shape) for shape in shapes],
            **images.to_header(),
            "checksums": checksums[: len(shapes)],
            "flipped_checksums": checksums[len(shapes) :],
        }
        arrays.finish("codes.json", _MAGIC, _VERSION, header)


def _array_name(level: int, *, flipped: bool) -> str:
    return f"level{level}_flipped" if flipped else f"level{level}"


def _open_level(directory: Path, level: int, checksum: str, header: _Header, *, flipped: bool) -> np.ndarray:
    path = directory / f"{_array_name(level, flipped=flipped)}.npy"
    height, width = header.shapes[level]
    codes = open_array(path, shape=(len(header.names), height, width), dtypes=(np.uint8, np.uint16))
    if _checksum(codes) != checksum:
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
