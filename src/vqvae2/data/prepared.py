"""Images of one size, with their classes and their split, as training and evaluation read them.

Shapes: N images, B of them in a batch, H x W pixels, C channels.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple, TypeVar

import numpy as np
from annotated_types import Len
from pydantic import PositiveInt

from vqvae2.config import ImageConfig
from vqvae2.data.batches import ordered_batches
from vqvae2.data.collection import Collection, CollectionHeader
from vqvae2.data.prefetch import prefetched
from vqvae2.data.sources.source import ReadingUnits
from vqvae2.images import PIXEL_TYPES, decode_image
from vqvae2.system.processes import num_processes, process_index, spread

__all__ = ["Images", "ImagesHeader", "ReadBatch", "decoder", "read_batches", "shape_header", "spread_batches"]

_Result = TypeVar("_Result")

_HASHED_AT_A_TIME = 256
_READ_AHEAD = 2  # batches


class Images(Collection, ABC):
    """Images of one size that are read by their numbers: an `ImageStore`, or `StreamedImages`."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""

    @property
    @abstractmethod
    def channels(self) -> int: ...

    @property
    @abstractmethod
    def bit_depth(self) -> int:
        """Bits of each value of a pixel, 8 or 16."""

    @property
    @abstractmethod
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Files that could not be read, each with the reason."""

    @property
    def units(self) -> ReadingUnits | None:
        """Which images are best read together; None if any order is as good."""
        return None

    @abstractmethod
    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read some images by their numbers: uint8 or uint16 `(B, H, W, C)`, a copy."""

    def fingerprint(self, indices: np.ndarray) -> str:
        """Hash some of the images, in their order, and their shape: 32 hexadecimal digits (BLAKE2b)."""
        shape, dtype = (*self.size, self.channels), np.dtype(PIXEL_TYPES[self.bit_depth])
        digest = hashlib.blake2b(f"{dtype} {shape}\n".encode(), digest_size=16)
        for batch in read_batches(self, indices, _HASHED_AT_A_TIME):
            digest.update(np.ascontiguousarray(batch.pixels).data)
        return digest.hexdigest()


class ImagesHeader(CollectionHeader):
    """The shape of the images in a store's header, beside the collection."""

    size: Annotated[list[PositiveInt], Len(2, 2)]
    channels: Literal[1, 3, 4]
    bit_depth: Literal[8, 16]


def shape_header(images: Images | ImageConfig) -> dict[str, object]:
    """Return the values of an `ImagesHeader` that are not of the collection."""
    return {"size": images.size, "channels": images.channels, "bit_depth": images.bit_depth}


class ReadBatch(NamedTuple):
    """Some images, read."""

    indices: np.ndarray
    """int64 `(B,)`."""
    pixels: np.ndarray
    """uint8 or uint16 `(B, H, W, C)`."""


def decoder(config: ImageConfig) -> Callable[[bytes], np.ndarray]:
    """Make the function that turns an image file into pixels `(H, W, C)` as a config says."""
    return partial(
        decode_image, channels=config.channels, size=config.size, resize=config.resize, bit_depth=config.bit_depth
    )


def read_batches(images: Images, indices: Sequence[int] | np.ndarray, batch_size: int) -> Iterator[ReadBatch]:
    """Read images in their order; the next batches are read while one is used."""
    batches = (ReadBatch(batch, images.read(batch)) for batch in ordered_batches(indices, batch_size))
    return prefetched(batches, depth=_READ_AHEAD)


def spread_batches(
    images: Images, indices: Sequence[int] | np.ndarray, batch_size: int, work: Callable[[ReadBatch], _Result]
) -> Iterator[_Result]:
    """Do work on each batch of images in one of the processes, and return all results to all processes, in order.

    Each process reads its own batches only, the next ones while one is worked on.
    """
    batches = list(ordered_batches(indices, batch_size))
    own = batches[process_index() :: num_processes()]  # as `spread` deals them out
    read = prefetched((ReadBatch(batch, images.read(batch)) for batch in own), depth=_READ_AHEAD)
    return spread(range(len(batches)), lambda _: work(next(read)))
