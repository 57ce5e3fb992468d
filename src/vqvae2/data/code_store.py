"""The codes of a whole set of images on disk, at most two bytes a code.

Shapes: N images, h x w code grid of a level, K codes of its codebook.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vqvae2.atomic import atomic_directory
from vqvae2.codes import Codes
from vqvae2.data.image_store import ImageStore, Split
from vqvae2.data.store_files import create_array, open_array, read_header, write_header
from vqvae2.errors import CheckpointError, ConfigError, DataError

__all__ = ["CodeStore", "CodeStoreWriter", "create_code_store"]

_MAGIC, _VERSION = "vqvae2.codes", 1


@dataclass(frozen=True, eq=False)
class CodeStore:
    """A folder with `level0.npy` (the top), `level1.npy`, ... and `codes.json`, mapped into memory."""

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

    def batch(self, indices: np.ndarray) -> Codes:
        """Read the codes of some images, by their numbers `(B,)`."""
        return Codes(tuple(torch.from_numpy(level[indices].astype(np.int64)) for level in self.maps))

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
            names, num_embeddings = tuple(header["names"]), tuple(int(size) for size in header["num_embeddings"])
            shapes = [(len(names), int(height), int(width)) for height, width in header["shapes"]]
            labels = np.array(header["labels"], dtype=np.int64).reshape(len(names))
            is_validation = np.array(header["is_validation"], dtype=bool).reshape(len(names))
            classes, fingerprint = tuple(header["classes"]), str(header["tokenizer"])
            checksums = [checksum for checksum, *_ in zip(header["checksums"], shapes, num_embeddings, strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged; delete {directory} and extract the codes again") from error
        maps = tuple(
            open_array(directory / f"level{level}.npy", shape=shape, dtypes=(np.uint8, np.uint16))
            for level, shape in enumerate(shapes)
        )
        for level, (codes, checksum) in enumerate(zip(maps, checksums, strict=True)):
            if _checksum(codes) != checksum:
                raise DataError(
                    f"{directory / f'level{level}.npy'} does not match its checksum; "
                    f"delete {directory} and extract the codes again"
                )
        return cls(maps, num_embeddings, names, labels, classes, is_validation, fingerprint)


class CodeStoreWriter:
    """Fills a new store batch by batch; made by `create_code_store`."""

    def __init__(
        self, folder: Path, images: ImageStore, shapes: Sequence[tuple[int, int]], num_embeddings: Sequence[int]
    ) -> None:
        self._written = np.zeros(images.num_images, dtype=bool)
        self._num_embeddings = tuple(num_embeddings)
        self._maps = [
            create_array(
                folder / f"level{level}.npy",
                shape=(images.num_images, *shape),
                dtype=np.uint8 if size <= 256 else np.uint16,
            )
            for level, (shape, size) in enumerate(zip(shapes, num_embeddings, strict=True))
        ]

    def write(self, start: int, codes: Codes) -> None:
        """Store the codes of the images `start`, `start` + 1, ... in every level.

        Raises:
            DataError: If a code lies beyond its level's codebook.
        """
        for index, (level, batch, size) in enumerate(zip(self._maps, codes, self._num_embeddings, strict=True)):
            low, high = int(batch.min()), int(batch.max())
            if low < 0 or high >= size:  # NumPy would wrap them round without a word
                raise DataError(
                    f"`codes[{index}]` must be in 0..{size - 1}, got {low}..{high}; "
                    "give the `num_embeddings` of the tokenizer that made them"
                )
            place = level[start : start + codes.batch_size]
            assert place.shape == batch.shape  # NumPy would repeat a smaller batch
            place[:] = batch.numpy()
        self._written[start : start + codes.batch_size] = True

    def finish(self) -> list[str]:
        """Bring everything to disk and return the checksum of each level."""
        if not self._written.all():
            missing = int((~self._written).sum())
            raise DataError(f"the codes of {missing} of {len(self._written)} images were never written")
        for level in self._maps:
            level.flush()
        return [_checksum(level) for level in self._maps]


@contextmanager
def create_code_store(
    directory: Path,
    images: ImageStore,
    *,
    shapes: Sequence[tuple[int, int]],
    num_embeddings: Sequence[int],
    fingerprint: str,
) -> Iterator[CodeStoreWriter]:
    """Open a new store for writing; it appears at the end, when all images are there.

    Args:
        directory: Where it appears.
        images: The images whose codes they are; names, classes and split are taken from them.
        shapes: Grid `(h, w)` of each level, top first.
        num_embeddings: K of each level, at most 65,536.
        fingerprint: Of the tokenizer.

    Raises:
        ConfigError: If a code does not fit two bytes.
        DataError: If an image was left out, or a code lies beyond its codebook.
    """
    if max(num_embeddings) > 2**16:
        raise ConfigError(f"`num_embeddings` must be at most 65536 to fit two bytes, got {max(num_embeddings)}")
    with atomic_directory(directory) as partial:
        writer = CodeStoreWriter(partial, images, shapes, num_embeddings)
        yield writer
        header = {
            "tokenizer": fingerprint,
            "num_embeddings": list(num_embeddings),
            "shapes": [list(shape) for shape in shapes],
            "names": list(images.names),
            "labels": images.labels.tolist(),
            "classes": list(images.classes),
            "is_validation": images.is_validation.tolist(),
            "checksums": writer.finish(),
        }
        write_header(partial / "codes.json", _MAGIC, _VERSION, header)


def _checksum(codes: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(codes), 4096):
        digest.update(np.ascontiguousarray(codes[start : start + 4096]).data)
    return digest.hexdigest()
