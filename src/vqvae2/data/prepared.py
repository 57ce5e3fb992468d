"""Images of one size, with their classes and their split, as training and evaluation read them.

Shapes: N images, B of them in a batch, H x W pixels, C channels.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

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

__all__ = ["Images", "ImagesHeader", "ReadBatch", "decoder", "shape_header", "spread_batches"]

_Result = TypeVar("_Result")

_HASHED_AT_A_TIME = 256


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Images(Collection, ABC):
    """Images of one size that are read by their numbers: an `ImageStore`, or `StreamedImages`."""

    size: tuple[int, int]
    """Height and width in pixels."""
    channels: int
    bit_depth: int
    """Bits per value of a pixel, 8 or 16."""
    units: ReadingUnits | None = None
    """Which images are best read together; None if any order is as good."""

    @property
    @abstractmethod
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Files that could not be read, each with the reason."""

    @abstractmethod
    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read some images by their numbers: uint8 or uint16 `(B, H, W, C)`, a copy."""

    def fingerprint(self, indices: np.ndarray) -> str:
        """Hash some of the images, in their order, and their shape: 32 hexadecimal digits (BLAKE2b)."""
        shape, dtype = (*self.size, self.channels), np.dtype(PIXEL_TYPES[self.bit_depth])
        digest = hashlib.blake2b(f"{dtype} {shape}\n".encode(), digest_size=16)
        for batch in _read_ahead(self, ordered_batches(indices, _HASHED_AT_A_TIME)):
            digest.update(np.ascontiguousarray(batch.pixels).data)
        return digest.hexdigest()


class ImagesHeader(CollectionHeader):
    """The shape of the images in a store's header, beside the collection."""

    size: Annotated[list[PositiveInt], Len(2, 2)]
    channels: Literal[1, 3, 4]
    bit_depth: Literal[8, 16]

    def fields(self) -> dict[str, Any]:
        """Return the arguments of `Images`."""
        size = tuple(self.size)
        return {**super().fields(), "size": size, "channels": self.channels, "bit_depth": self.bit_depth}


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


def spread_batches(
    images: Images, indices: Sequence[int] | np.ndarray, batch_size: int, work: Callable[[ReadBatch], _Result]
) -> Iterator[_Result]:
    """Do work on each batch of images in one of the processes, and return all results to all processes, in order.

    Each process reads its own batches only, the next ones while one is worked on.
    """
    batches = list(ordered_batches(indices, batch_size))
    read = _read_ahead(images, batches[process_index() :: num_processes()])  # as `spread` deals them out
    return spread(range(len(batches)), lambda _: work(next(read)))


def _read_ahead(images: Images, batches: Iterable[np.ndarray]) -> Iterator[ReadBatch]:
    return prefetched(ReadBatch(batch, images.read(batch)) for batch in batches)
