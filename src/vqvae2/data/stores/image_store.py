"""Images on disk, decoded and resized once, with their classes and their split.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Len
from pydantic import FailFast

from vqvae2.config import ImageConfig
from vqvae2.data.collection import Collection
from vqvae2.data.prepared import Images, ImagesHeader, decoder, shape_header
from vqvae2.data.sources.source import ImageSource
from vqvae2.data.split import split_images
from vqvae2.data.stores.files import create_array, open_array, read_header, shorten_array, write_header
from vqvae2.data.stores.growing import GrowingArrays
from vqvae2.errors import DataError
from vqvae2.images import PIXEL_TYPES
from vqvae2.system.files import atomic_directory
from vqvae2.system.processes import first_decides

__all__ = ["ImageStore", "prepare_images", "write_images"]

_MAGIC, _VERSION = "vqvae2.images", 2
_CHUNK = 256  # images decoded at a time; bounds the memory


class _Header(ImagesHeader):
    skipped: Annotated[list[Annotated[list[str], Len(2, 2)]], FailFast()]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageStore(Images):
    """A folder with `images.npy` and `images.json`, mapped into memory."""

    pixels: np.ndarray
    """uint8 or uint16 `(N, H, W, C)`, read from disk as it is used."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Files that could not be read, each with the reason."""

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.asarray(self.pixels[np.asarray(indices, dtype=np.int64)])

    @classmethod
    def open(cls, directory: Path) -> ImageStore:
        """Open a store.

        Raises:
            DataError: If it is missing, damaged or of another format.
        """
        header = read_header(directory / "images.json", _MAGIC, _VERSION, _Header)
        shape = (len(header.names), *header.size, header.channels)
        pixels = open_array(directory / "images.npy", shape=shape, dtypes=(PIXEL_TYPES[header.bit_depth],))
        skipped = tuple((name, reason) for name, reason in header.skipped)
        return cls(pixels=pixels, skipped=skipped, **header.fields())


def prepare_images(
    source: ImageSource,
    directory: Path,
    config: ImageConfig,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> ImageStore:
    """Decode, resize and split the images of a source, and keep them on disk.

    A file that cannot be read is skipped, counted and named. Memory does not grow with the number of images. The store
    appears in `directory` once it is complete. `on_progress` is called with the files done and their total.

    Raises:
        DataError: If fewer than two images can be read.
        ShardError: If a file with many images can no longer be read.
    """
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []
    with atomic_directory(directory) as partial:
        shape = (len(source), *config.size, config.channels)
        pixels = create_array(partial / "images.npy", shape=shape, dtype=PIXEL_TYPES[config.bit_depth])
        for index, decoded in enumerate(_decode_all(source, decoder(config))):
            if isinstance(decoded, DataError):
                skipped.append((source.names[index], str(decoded)))
            else:
                pixels[len(kept)] = decoded
                kept.append(index)
            if on_progress is not None:
                on_progress(index + 1, len(source))
        if len(kept) < 2:
            reason = f"; {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise DataError(f"at least two readable images are needed, got {len(kept)} of {len(source)} files{reason}")
        pixels.flush()
        del pixels
        if skipped:
            shorten_array(partial / "images.npy", len(kept))
        collection = split_images(source, kept, config).to_header()
        header = {**shape_header(config), "resize": config.resize, **collection, "skipped": skipped}
        write_header(partial / "images.json", _MAGIC, _VERSION, header)
    return ImageStore.open(directory)


def write_images(
    make: Callable[[int], Iterable[np.ndarray]],
    directory: Path,
    *,
    like: Images,
    labels: np.ndarray,
    is_validation: np.ndarray,
    on_progress: Callable[[int, int], None] | None = None,
) -> ImageStore:
    """Keep images that something makes as a store; an attempt that was stopped resumes.

    Args:
        make: Given a number, makes batches `(B, H, W, C)` of the images from that number on, in every process.
        directory: Where the store appears once it is complete; an existing store is opened.
        like: Images of the same size, channels, bit depth and classes.
        labels: int64 `(N,)`, -1 where an image has no class.
        is_validation: bool `(N,)`.
        on_progress: Called with the images done and their total.
    """
    if not first_decides(directory.exists):
        count = len(labels)
        shape = (count, *like.size, like.channels)
        with GrowingArrays(directory, {"images": (shape, PIXEL_TYPES[like.bit_depth])}) as arrays:
            if arrays.num_rows < count:
                for pixels in make(arrays.num_rows):
                    arrays.append(images=pixels)
                    if on_progress is not None:
                        on_progress(arrays.num_rows, count)
            assert arrays.num_rows == count, "`make` must go on to the last image"
            names = tuple(f"{number:06d}" for number in range(count))
            collection = Collection(names=names, labels=labels, classes=like.classes, is_validation=is_validation)
            header = {**shape_header(like), **collection.to_header(), "skipped": []}
            arrays.finish("images.json", _MAGIC, _VERSION, header)
    return ImageStore.open(directory)


def _decode_all(source: ImageSource, decode: Callable[[bytes], np.ndarray]) -> Iterator[np.ndarray | DataError]:
    with ThreadPoolExecutor() as pool:  # PIL decodes and resizes without the interpreter's lock
        for start in range(0, len(source), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(source)))
            yield from pool.map(lambda index: source.try_read(index, decode), chunk)
