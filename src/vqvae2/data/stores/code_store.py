"""The codes of a whole set of images on disk, at most two bytes a code.

Shapes: N images, h x w code grid of a level, K codes of its codebook.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqvae2.codes import Codes
from vqvae2.data.images import Images, Split
from vqvae2.data.stores.files import (
    create_array,
    is_positive,
    open_array,
    read_header,
    read_labels,
    read_list,
    write_header,
)
from vqvae2.errors import CheckpointError, ConfigError, DataError
from vqvae2.system.atomic import atomic_directory

__all__ = ["CodeStore", "CodeStoreWriter", "create_code_store"]

_MAGIC, _VERSION = "vqvae2.codes", 2


@dataclass(frozen=True, eq=False)
class CodeStore:
    """A folder with `level0.npy` (the top), `level1.npy`, ... and `codes.json`, mapped into memory.

    Beside them may lie `level0_flipped.npy`, ..., the codes of the mirrored images: an encoder does not give a mirrored
    image the mirrored codes.
    """

    maps: tuple[np.ndarray, ...]
    """uint8 or uint16 `(N, h, w)`, one a level, top first."""
    num_embeddings: tuple[int, ...]
    """K of each level."""
    names: tuple[str, ...]
    labels: np.ndarray
    """int64 `(N,)`, -1 where an image has no class."""
    classes: tuple[str, ...]
    is_validation: np.ndarray
    """bool `(N,)`."""
    fingerprint: str
    """Of the tokenizer that made the codes."""
    flipped_maps: tuple[np.ndarray, ...] = ()
    """As `maps`, of the images mirrored left to right; empty if these were not encoded."""

    @property
    def has_flipped(self) -> bool:
        return bool(self.flipped_maps)

    @property
    def num_images(self) -> int:
        return len(self.names)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Grid `(h, w)` of each level, top first."""
        return tuple((level.shape[1], level.shape[2]) for level in self.maps)

    def indices(self, split: Split) -> np.ndarray:
        """Numbers of the images of one side of the split, int64."""
        return np.flatnonzero(self.is_validation == (split == "validation"))

    def batch(self, indices: np.ndarray, *, flipped: bool = False) -> Codes:
        """Read the codes of some images, or of their mirrored twins, by their numbers `(B,)`."""
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
        path = directory / "codes.json"
        header = read_header(path, _MAGIC, _VERSION)
        try:
            names, num_embeddings = read_list(header, "names", str), read_list(header, "num_embeddings", int)
            shapes = [_read_shape(len(names), sides) for sides in read_list(header, "shapes", list)]
            labels, classes, is_validation = read_labels(header, len(names))
            fingerprint = header["tokenizer"]
            checksums = read_list(header, "checksums", str, length=len(shapes))
            flipped_checksums = read_list(header, "flipped_checksums", str)
            if not shapes or len(num_embeddings) != len(shapes) or len(flipped_checksums) not in (0, len(shapes)):
                raise ValueError("not one of each a level")
            if not all(2 <= size <= 2**16 for size in num_embeddings) or not isinstance(fingerprint, str):
                raise ValueError("no codebooks, or no tokenizer, that codes could be of")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{path} is damaged; delete {directory} and extract the codes again") from error
        return cls(
            maps=_open_levels(directory, shapes, num_embeddings, checksums),
            num_embeddings=tuple(num_embeddings),
            names=tuple(names),
            labels=labels,
            classes=classes,
            is_validation=is_validation,
            fingerprint=fingerprint,
            flipped_maps=_open_levels(directory, shapes, num_embeddings, flipped_checksums, flipped=True),
        )


class CodeStoreWriter:
    """Fills a new store batch by batch; made by `create_code_store`."""

    def __init__(
        self,
        folder: Path,
        images: Images,
        shapes: Sequence[tuple[int, int]],
        num_embeddings: Sequence[int],
        *,
        with_flipped: bool,
    ) -> None:
        self._written = np.zeros(images.num_images, dtype=bool)
        self._num_embeddings = tuple(num_embeddings)

        def create(*, flipped: bool) -> list[np.memmap]:
            return [
                create_array(
                    folder / _file_name(level, flipped=flipped),
                    shape=(images.num_images, *shape),
                    dtype=np.uint8 if size <= 256 else np.uint16,
                )
                for level, (shape, size) in enumerate(zip(shapes, num_embeddings, strict=True))
            ]

        self._maps = create(flipped=False)
        self._flipped_maps = create(flipped=True) if with_flipped else []

    def write(self, start: int, codes: Codes, *, flipped: Codes | None = None) -> None:
        """Store the codes of the images `start`, `start` + 1, ... in every level.

        Args:
            start: Number of the first image.
            codes: Of the images.
            flipped: Of the mirrored images, where the store keeps these.

        Raises:
            DataError: If a code lies beyond its level's codebook.
            ValueError: If `flipped` is missing where the store keeps it, or given where it does not.
        """
        if (flipped is not None) != bool(self._flipped_maps):
            wanted = "the codes of the mirrored images" if self._flipped_maps else "None"
            raise ValueError(f"`flipped` must be {wanted}, as `with_flipped` of the store says")
        self._write("codes", self._maps, start, codes)
        if flipped is not None:
            self._write("flipped", self._flipped_maps, start, flipped)
        self._written[start : start + codes.batch_size] = True

    def _write(self, name: str, maps: list[np.memmap], start: int, codes: Codes) -> None:
        for index, (level, batch, size) in enumerate(zip(maps, codes, self._num_embeddings, strict=True)):
            low, high = int(batch.min()), int(batch.max())
            if low < 0 or high >= size:  # NumPy would wrap them round without a word
                raise DataError(
                    f"`{name}[{index}]` must be in 0..{size - 1}, got {low}..{high}; "
                    "give the `num_embeddings` of the tokenizer that made them"
                )
            place = level[start : start + codes.batch_size]
            assert place.shape == batch.shape  # NumPy would repeat a smaller batch
            place[:] = batch.numpy()

    def finish(self) -> dict[str, list[str]]:
        """Bring everything to disk and return the checksum of each level, by their names in the header."""
        if not self._written.all():
            missing = int((~self._written).sum())
            raise DataError(f"the codes of {missing} of {len(self._written)} images were never written")
        for level in (*self._maps, *self._flipped_maps):
            level.flush()
        return {
            "checksums": [_checksum(level) for level in self._maps],
            "flipped_checksums": [_checksum(level) for level in self._flipped_maps],
        }


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
    """Open a new store for writing; it appears at the end, when all images are there.

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
    if max(num_embeddings) > 2**16:
        raise ConfigError(f"`num_embeddings` must be at most 65536 to fit two bytes, got {max(num_embeddings)}")
    with atomic_directory(directory) as partial:
        writer = CodeStoreWriter(partial, images, shapes, num_embeddings, with_flipped=with_flipped)
        yield writer
        header = {
            "tokenizer": fingerprint,
            "num_embeddings": list(num_embeddings),
            "shapes": [list(shape) for shape in shapes],
            "names": list(images.names),
            "labels": images.labels.tolist(),
            "classes": list(images.classes),
            "is_validation": images.is_validation.tolist(),
            **writer.finish(),
        }
        write_header(partial / "codes.json", _MAGIC, _VERSION, header)


def _file_name(level: int, *, flipped: bool) -> str:
    return f"level{level}_flipped.npy" if flipped else f"level{level}.npy"


def _read_shape(num_images: int, sides: list[Any]) -> tuple[int, int, int]:
    if len(sides) != 2 or not all(is_positive(side) for side in sides):
        raise ValueError("a shape must be a height and a width")
    return num_images, sides[0], sides[1]


def _open_levels(
    directory: Path,
    shapes: Sequence[tuple[int, int, int]],
    num_embeddings: Sequence[int],
    checksums: Sequence[str],
    *,
    flipped: bool = False,
) -> tuple[np.ndarray, ...]:
    """Map the files of all levels into memory; of none, if there are no checksums of such."""
    maps = []
    for level, checksum in enumerate(checksums):
        path = directory / _file_name(level, flipped=flipped)
        maps.append(open_array(path, shape=shapes[level], dtypes=(np.uint8, np.uint16)))
        if _checksum(maps[-1]) != checksum:
            raise DataError(f"{path} does not match its checksum; delete {directory} and extract the codes again")
        if any(part.max() >= num_embeddings[level] for part in _parts(maps[-1])):
            raise DataError(
                f"{path} holds codes beyond its codebook of {num_embeddings[level]}; "
                f"delete {directory} and extract the codes again"
            )
    return tuple(maps)


def _checksum(codes: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(codes):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _parts(codes: np.ndarray) -> Iterator[np.ndarray]:
    """Take the codes some images at a time, so that little of the file is in memory."""
    for start in range(0, len(codes), 4096):
        yield codes[start : start + 4096]
