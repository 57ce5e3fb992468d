"""Images on disk, decoded and resized once, with their classes and their split.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqvae2.config import Resize
from vqvae2.data.images import Images, Split, hash_images
from vqvae2.data.sources.source import ImageSource, ShardError
from vqvae2.data.split import validation_mask
from vqvae2.data.stores.files import (
    create_array,
    is_positive,
    open_array,
    read_header,
    read_labels,
    read_list,
    write_header,
)
from vqvae2.data.stores.growing import GrowingArrays
from vqvae2.errors import DataError
from vqvae2.images import PIXEL_TYPES, decode_image
from vqvae2.system.atomic import atomic_directory
from vqvae2.system.processes import first_decides

__all__ = ["ImageStore", "prepare_images", "write_images"]

_MAGIC, _VERSION = "vqvae2.images", 2
_CHUNK = 256  # images decoded at a time; bounds the memory


@dataclass(frozen=True, eq=False)
class ImageStore:
    """A folder with `images.npy` and `images.json`, mapped into memory."""

    pixels: np.ndarray
    """uint8 or uint16 `(N, H, W, C)`, read from disk as it is used."""
    names: tuple[str, ...]
    labels: np.ndarray
    """int64 `(N,)`, -1 where an image has no class."""
    classes: tuple[str, ...]
    is_validation: np.ndarray
    """bool `(N,)`."""
    skipped: tuple[tuple[str, str], ...]
    """Files that could not be read, each with the reason."""

    @property
    def num_images(self) -> int:
        return len(self.names)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[3])

    @property
    def bit_depth(self) -> int:
        """Bits of each value of a pixel, 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def units(self) -> None:
        """None: any order is as good as another."""
        return None

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read some images by their numbers, uint8 or uint16 `(B, H, W, C)`, a copy."""
        return np.asarray(self.pixels[np.asarray(indices, dtype=np.int64)])

    def fingerprint(self, indices: np.ndarray) -> str:
        """Hash some of the images, in their order, and their shape: 32 hexadecimal digits (BLAKE2b)."""
        return hash_images(self, indices)

    def indices(self, split: Split) -> np.ndarray:
        """Numbers of the images of one side of the split, int64."""
        return np.flatnonzero(self.is_validation == (split == "validation"))

    @classmethod
    def open(cls, directory: Path) -> ImageStore:
        """Open a store.

        Raises:
            DataError: If it is missing, damaged or of another format.
        """
        path = directory / "images.json"
        header = read_header(path, _MAGIC, _VERSION)
        try:
            names, channels, bit_depth = read_list(header, "names", str), header["channels"], header["bit_depth"]
            height, width = read_list(header, "size", int, length=2)
            if not all(is_positive(value) for value in (height, width, channels, bit_depth)):
                raise ValueError("no images have such a shape")
            pixel_type = PIXEL_TYPES[bit_depth]
            labels, classes, is_validation = read_labels(header, len(names))
            skipped = [(name, reason) for name, reason in read_list(header, "skipped", list)]
            if not all(isinstance(text, str) for entry in skipped for text in entry):
                raise ValueError("skipped must be names and reasons")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{path} is damaged; delete {directory} and make it again") from error
        shape = (len(names), height, width, channels)
        pixels = open_array(directory / "images.npy", shape=shape, dtypes=(pixel_type,))
        return cls(pixels, tuple(names), labels, classes, is_validation, tuple(skipped))


def prepare_images(
    source: ImageSource,
    directory: Path,
    *,
    size: tuple[int, int],
    channels: int,
    bit_depth: int = 8,
    resize: Resize = "crop",
    validation_fraction: float = 0.1,
    group_pattern: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ImageStore:
    """Decode, resize and split the images of a source, and keep them on disk.

    A file that cannot be read is passed over, counted and named. Memory does not grow with the number of images.

    Args:
        source: The images.
        directory: Where the store appears once it is complete.
        size: Height and width in pixels that every image gets.
        channels: 1 grey, 3 RGB, 4 RGBA.
        bit_depth: 8, or 16 for grey.
        resize: How an image gets to that shape.
        validation_fraction: Share held out, unless the source has a split of its own.
        group_pattern: Keeps near duplicates together, see `validation_mask`.
        on_progress: Called with the files done and their total.

    Returns:
        The new store.

    Raises:
        DataError: If fewer than two images can be read.
        ShardError: If a file with many images is no longer what it was.
    """
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []
    labels: list[int] = []
    with atomic_directory(directory) as partial:
        shape = (len(source), *size, channels)
        pixels = create_array(partial / "images.npy", shape=shape, dtype=PIXEL_TYPES[bit_depth])
        decode = functools.partial(decode_image, channels=channels, size=size, resize=resize, bit_depth=bit_depth)
        for index, label, decoded in _decode_all(source, decode):
            if isinstance(decoded, DataError):
                skipped.append((source.names[index], str(decoded)))
            else:
                pixels[len(kept)] = decoded
                kept.append(index)
                labels.append(-1 if label is None else label)
            if on_progress is not None:
                on_progress(index + 1, len(source))
        if len(kept) < 2:
            reason = f"; {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise DataError(f"at least two readable images are needed, got {len(kept)} of {len(source)} files{reason}")
        pixels.flush()
        if skipped:
            _shorten(partial / "images.npy", len(kept))
        names = [source.names[index] for index in kept]
        given = source.given_validation
        if given is None or len(set(given[kept])) < 2:
            is_validation = validation_mask(names, fraction=validation_fraction, group_pattern=group_pattern)
        else:
            is_validation = given[kept]
        header = {
            "size": size,
            "channels": channels,
            "bit_depth": bit_depth,
            "resize": resize,
            "names": names,
            "labels": labels,
            "classes": list(source.classes),
            "is_validation": is_validation.tolist(),
            "skipped": skipped,
        }
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
    """Keep images that something makes as a store, and go on where an earlier attempt was stopped.

    Args:
        make: Given a number, makes batches `(B, H, W, C)` of the images from that number on, in every process.
        directory: Where the store appears once it is complete; if it is there, it is opened.
        like: Images of the same size, channels, bit depth and classes.
        labels: int64 `(N,)`, -1 where an image has no class.
        is_validation: bool `(N,)`.
        on_progress: Called with the images done and their total.

    Returns:
        The store, of N images.
    """
    if not first_decides(directory.exists):
        count = len(labels)
        shape = (count, *like.size, like.channels)
        arrays = GrowingArrays(directory, {"images": (shape, PIXEL_TYPES[like.bit_depth])})
        if arrays.num_rows < count:
            for pixels in make(arrays.num_rows):
                arrays.append(images=pixels)
                if on_progress is not None:
                    on_progress(arrays.num_rows, count)
        header = {
            "size": like.size,
            "channels": like.channels,
            "bit_depth": like.bit_depth,
            "names": [f"{number:06d}" for number in range(count)],
            "labels": labels.tolist(),
            "classes": list(like.classes),
            "is_validation": is_validation.tolist(),
            "skipped": [],
        }
        assert arrays.num_rows == count, "`make` must go on to the last image"
        arrays.finish("images.json", _MAGIC, _VERSION, header)
    return ImageStore.open(directory)


def _decode_all(
    source: ImageSource, decode: Callable[[bytes], np.ndarray]
) -> Iterator[tuple[int, int | None, np.ndarray | DataError]]:
    def read(index: int) -> tuple[int, int | None, np.ndarray | DataError]:
        try:
            record = source[index]
            return index, record.label, decode(record.data)
        except ShardError:
            raise
        except DataError as error:
            return index, None, error

    with ThreadPoolExecutor() as pool:  # PIL decodes and resizes without the interpreter's lock
        for start in range(0, len(source), _CHUNK):
            yield from pool.map(read, range(start, min(start + _CHUNK, len(source))))


def _shorten(path: Path, count: int) -> None:
    """Keep the first `count` images of an `.npy` file."""
    whole = np.load(path, mmap_mode="r")
    shorter = create_array(path.with_suffix(".short"), shape=(count, *whole.shape[1:]), dtype=whole.dtype.type)
    for start in range(0, count, _CHUNK):
        shorter[start : min(start + _CHUNK, count)] = whole[start : min(start + _CHUNK, count)]
    shorter.flush()
    path.with_suffix(".short").replace(path)
