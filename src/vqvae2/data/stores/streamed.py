"""Images that are read and decoded as they are needed, so that no decoded copy of them is kept.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vqvae2.config import Resize
from vqvae2.data.images import Images, Split, hash_images
from vqvae2.data.sources.opening import open_images
from vqvae2.data.sources.source import ImageSource, ReadingUnits, ShardError
from vqvae2.data.split import validation_mask
from vqvae2.data.stores.files import read_header, write_header
from vqvae2.data.stores.image_store import ImageStore
from vqvae2.errors import DataError
from vqvae2.images import PIXEL_TYPES, decode_image
from vqvae2.system.atomic import atomic_directory

__all__ = ["StreamedImages", "index_images", "open_prepared"]

OnSkipped = Callable[[str, str], None]
"""Called with the name of a file that cannot be read, and the reason, once."""

_MAGIC, _VERSION = "vqvae2.image-index", 1
_INDEX, _SKIPPED = "index.json", "skipped.jsonl"
_MOST_TRIES = 100  # files in a row that cannot be read: more is no accident
_KEPT_BYTES = 2**28  # of decoded validation images, which are read again and again, far apart


class StreamedImages:
    """A folder with `index.json`, and a source of images that lies elsewhere. It can be read like an `ImageStore`.

    A file that cannot be read is replaced, wherever its image is asked for, by the next readable one of the same class
    and the same side of the split; after the last comes the first. So an image is a function of its number alone, and
    whatever is made of the images in their order, such as codes, stays aligned with names, labels and split: what
    stands under the name of a broken file is its replacement's. Each is counted, told once, and kept in
    `skipped.jsonl`.

    Args:
        directory: Of the index.
        source: The images; must be those of the index. None opens them where they were.
        on_skipped: Is told of each file that cannot be read, by whichever thread finds it.

    Raises:
        DataError: If the index is missing or damaged, or the images are others.
    """

    def __init__(
        self, directory: Path, *, source: ImageSource | None = None, on_skipped: OnSkipped | None = None
    ) -> None:
        path = directory / _INDEX
        header = read_header(path, _MAGIC, _VERSION)
        try:
            names, classes = tuple(header["names"]), tuple(header["classes"])
            self.labels = np.array(header["labels"], dtype=np.int64).reshape(len(names))
            self.is_validation = np.array(header["is_validation"], dtype=bool).reshape(len(names))
            height, width = header["size"]
            self.size: tuple[int, int] = (int(height), int(width))
            self.channels, self.bit_depth = int(header["channels"]), int(header["bit_depth"])
            self._pixel_type = PIXEL_TYPES[self.bit_depth]
            resize, origin = header["resize"], str(header["origin"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged; delete {directory} and make it again") from error
        self._source = open_images(origin) if source is None else source
        if self._source.names != names:
            same = len(set(self._source.names) & set(names))
            raise DataError(
                f"`images` must be the {len(names)} files that {directory} was begun with, but {self._source.origin} "
                f"has {len(self._source)}, {same} of them the same; choose another folder, or use --force to start anew"
            )
        self.names, self.classes = self._source.names, classes
        self._decode_pixels = functools.partial(
            decode_image, channels=self.channels, size=self.size, resize=resize, bit_depth=self.bit_depth
        )
        self._skipped_path, self._on_skipped = directory / _SKIPPED, on_skipped
        self._lock = threading.Lock()
        self._broken = self._read_broken()
        self._kept: dict[int, np.ndarray] = {}
        self._kept_room = _KEPT_BYTES

    @property
    def num_images(self) -> int:
        return len(self.names)

    @property
    def units(self) -> ReadingUnits | None:
        """Which images are best read together; None if any order is as good."""
        return self._source.units

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Files that could not be read so far, each with the reason."""
        with self._lock:
            return tuple((self.names[number], reason) for number, reason in sorted(self._broken.items()))

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read and decode some images by their numbers, in several threads: uint8 or uint16 `(B, H, W, C)`.

        Raises:
            ShardError: If a file with many images is no longer what it was.
            DataError: If an image can be replaced by none.
        """
        numbers = np.asarray(indices, dtype=np.int64)
        pixels = np.empty((len(numbers), *self.size, self.channels), dtype=self._pixel_type)
        order = np.argsort(numbers, kind="stable")  # neighbours after each other
        for place, decoded in zip(order, self._pool.map(self._read_one, numbers[order].tolist()), strict=True):
            pixels[place] = decoded
        return pixels

    def indices(self, split: Split) -> np.ndarray:
        """Numbers of the images of one side of the split, int64."""
        return np.flatnonzero(self.is_validation == (split == "validation"))

    def fingerprint(self, indices: np.ndarray) -> str:
        """Hash some of the images, in their order, and their shape: 32 hexadecimal digits (BLAKE2b)."""
        return hash_images(self, indices)

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="decode")  # PIL works without the interpreter's lock

    @functools.cached_property
    def _successors(self) -> np.ndarray:
        """The number that replaces each one, int64 `(N,)`: rings of one class and one side each."""
        order = np.lexsort((np.arange(self.num_images), self.labels, self.is_validation))
        kind = self.labels[order] * 2 + self.is_validation[order]
        starts = np.flatnonzero(np.diff(kind, prepend=kind[0] - 1))
        following = np.arange(1, self.num_images + 1)
        following[np.append(starts[1:], self.num_images) - 1] = starts
        successors = np.empty_like(order)
        successors[order] = order[following]
        return successors

    def _read_one(self, number: int) -> np.ndarray:
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        tried = number
        for _ in range(_MOST_TRIES):
            if tried not in self._broken:
                try:
                    pixels = self._decode_pixels(self._source[tried].data)
                except ShardError:
                    raise
                except DataError as error:
                    self._note_broken(tried, str(error))
                else:
                    self._keep(number, pixels)
                    return pixels
            tried = int(self._successors[tried])
            if tried == number:
                break
        raise DataError(
            f"{self.names[number]} cannot be read ({self._broken[number]}), and neither can the images of its class "
            "and side of the split that could replace it; remove them, and begin anew"
        )

    def _keep(self, number: int, pixels: np.ndarray) -> None:
        if self.is_validation[number]:
            with self._lock:
                if number not in self._kept and pixels.nbytes <= self._kept_room:
                    self._kept[number] = pixels
                    self._kept_room -= pixels.nbytes

    def _note_broken(self, number: int, reason: str) -> None:
        with self._lock:
            if number in self._broken:
                return
            self._broken[number] = reason
            # Without the note, the file is tried again another time; a folder that is only read is no obstacle.
            with contextlib.suppress(OSError), self._skipped_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([self.names[number], reason]) + "\n")
        if self._on_skipped is not None:
            self._on_skipped(self.names[number], reason)

    def _read_broken(self) -> dict[int, str]:
        """Read what is known of broken files; lines that a stop cut are left out."""
        try:
            lines = self._skipped_path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        reasons: dict[str, str] = {}
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                name, reason = json.loads(line)
                reasons[name] = str(reason)
        return {number: reasons[name] for number, name in enumerate(self.names) if name in reasons} if reasons else {}


def index_images(
    source: ImageSource,
    directory: Path,
    *,
    size: tuple[int, int],
    channels: int,
    bit_depth: int = 8,
    resize: Resize = "crop",
    validation_fraction: float = 0.1,
    group_pattern: str | None = None,
    on_skipped: OnSkipped | None = None,
) -> StreamedImages:
    """Write down which images there are and how they are to be read; none of them is read now.

    Args:
        source: The images.
        directory: Where the index appears.
        size: As for `prepare_images`, and so are the next.
        channels: As above.
        bit_depth: As above.
        resize: As above.
        validation_fraction: As above.
        group_pattern: As above.
        on_skipped: See `StreamedImages`.

    Raises:
        DataError: If there are fewer than two images.
    """
    if len(source) < 2:
        raise DataError(f"at least two images are needed, got {len(source)} in {source.origin}")
    given = source.given_validation
    if given is None or given.all() or not given.any():
        given = validation_mask(source.names, fraction=validation_fraction, group_pattern=group_pattern)
    with atomic_directory(directory) as partial:
        header = {
            "origin": source.origin,
            "size": size,
            "channels": channels,
            "bit_depth": bit_depth,
            "resize": resize,
            "names": source.names,
            "labels": source.labels.tolist(),
            "classes": list(source.classes),
            "is_validation": given.tolist(),
        }
        write_header(partial / _INDEX, _MAGIC, _VERSION, header)
    return StreamedImages(directory, source=source, on_skipped=on_skipped)


def open_prepared(directory: Path, *, on_skipped: OnSkipped | None = None) -> Images:
    """Open images that were prepared, whether decoded or to be streamed.

    Raises:
        DataError: If there are none, they are damaged, or streamed ones are no longer where they were.
    """
    if (directory / _INDEX).exists():
        return StreamedImages(directory, on_skipped=on_skipped)
    return ImageStore.open(directory)
