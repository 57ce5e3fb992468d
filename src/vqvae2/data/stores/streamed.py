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

from vqvae2.config import ImageConfig, Resize
from vqvae2.data.prepared import Images, ImagesHeader, decoder, shape_header
from vqvae2.data.sources.opening import open_images
from vqvae2.data.sources.source import ImageSource
from vqvae2.data.split import split_images
from vqvae2.data.stores.files import read_header, write_header
from vqvae2.data.stores.image_store import ImageStore
from vqvae2.errors import DataError
from vqvae2.images import PIXEL_TYPES
from vqvae2.system.files import atomic_directory

__all__ = ["StreamedImages", "index_images", "open_prepared"]

OnSkipped = Callable[[str, str], None]
"""Called with the name of a file that cannot be read, and the reason, once."""

_MAGIC, _VERSION = "vqvae2.image-index", 1
_INDEX, _SKIPPED = "index.json", "skipped.jsonl"
_MAX_TRIES = 100  # files in a row that cannot be read: more is no accident
_CACHED_BYTES = 2**28  # of decoded validation images, which are read again and again, far apart


class _Header(ImagesHeader):
    origin: str
    resize: Resize


class StreamedImages(Images):
    """A folder with `index.json`, and a source of images that lies elsewhere; it is read like an `ImageStore`.

    A file that cannot be read is replaced by the next readable one of the same class and side of the split, in a ring.
    So an image is a function of its number alone, and whatever is made of the images in order, such as codes, stays
    aligned with names, labels and split: under the name of a broken file stands its replacement. Each broken file is
    reported once and noted in `skipped.jsonl`.

    Args:
        directory: Of the index.
        source: The images; must be those of the index. None opens them where they were.
        on_skipped: Called for each file that cannot be read, by whichever thread finds it.

    Raises:
        DataError: If the index is missing or damaged, or the images are others.
    """

    def __init__(
        self, directory: Path, *, source: ImageSource | None = None, on_skipped: OnSkipped | None = None
    ) -> None:
        header = read_header(directory / _INDEX, _MAGIC, _VERSION, _Header)
        self._source = open_images(header.origin) if source is None else source
        super().__init__(**header.fields(), units=self._source.units)
        if self._source.names != self.names:
            same = len(set(self._source.names) & set(self.names))
            raise DataError(
                f"`images` must be the {len(self.names)} files that {directory} was begun with, but "
                f"{self._source.origin} has {len(self._source)}, {same} of them the same; choose another folder, or "
                "use --force to start anew"
            )
        config = ImageConfig(size=self.size, channels=header.channels, bit_depth=header.bit_depth, resize=header.resize)
        self._decode = decoder(config)
        self._skipped_path, self._on_skipped = directory / _SKIPPED, on_skipped
        self._lock = threading.Lock()
        self._broken = self._read_broken()
        self._cache: dict[int, np.ndarray] = {}
        self._cache_room = _CACHED_BYTES

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Files that could not be read so far, each with the reason."""
        with self._lock:
            return tuple((self.names[number], reason) for number, reason in sorted(self._broken.items()))

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read and decode some images by their numbers, in several threads: uint8 or uint16 `(B, H, W, C)`.

        Raises:
            ShardError: If a file with many images can no longer be read.
            DataError: If no image can replace one that cannot be read.
        """
        numbers = np.asarray(indices, dtype=np.int64)
        pixels = np.empty((len(numbers), *self.size, self.channels), dtype=PIXEL_TYPES[self.bit_depth])
        order = np.argsort(numbers, kind="stable")  # neighbours one after the other
        for place, decoded in zip(order, self._pool.map(self._read_one, numbers[order].tolist()), strict=True):
            pixels[place] = decoded
        return pixels

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="decode")  # PIL works without the interpreter's lock

    @functools.cached_property
    def _successors(self) -> np.ndarray:
        """Number of the image that replaces each one, int64 `(N,)`: one ring per class and side of the split."""
        order = np.lexsort((np.arange(self.num_images), self.labels, self.is_validation))
        kind = self.labels[order] * 2 + self.is_validation[order]
        starts = np.flatnonzero(np.diff(kind, prepend=kind[0] - 1))
        following = np.arange(1, self.num_images + 1)
        following[np.append(starts[1:], self.num_images) - 1] = starts
        successors = np.empty_like(order)
        successors[order] = order[following]
        return successors

    def _read_one(self, number: int) -> np.ndarray:
        if number in self._cache:
            return self._cache[number]
        tried = number
        for _ in range(_MAX_TRIES):
            if tried not in self._broken:
                pixels = self._source.try_read(tried, self._decode)
                if not isinstance(pixels, DataError):
                    if self.is_validation[number]:
                        self._keep(number, pixels)
                    return pixels
                self._note_broken(tried, str(pixels))
            tried = int(self._successors[tried])
            if tried == number:
                break
        raise DataError(
            f"{self.names[number]} cannot be read ({self._broken[number]}), and neither can the images of its class "
            "and side of the split that could replace it; remove them, and start anew"
        )

    def _keep(self, number: int, pixels: np.ndarray) -> None:
        with self._lock:
            if number not in self._cache and pixels.nbytes <= self._cache_room:
                self._cache[number] = pixels
                self._cache_room -= pixels.nbytes

    def _note_broken(self, number: int, reason: str) -> None:
        with self._lock:
            if number in self._broken:
                return
            self._broken[number] = reason
            # Without the note, the file is tried again next time; a read-only folder is no obstacle.
            with contextlib.suppress(OSError), self._skipped_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([self.names[number], reason]) + "\n")
        if self._on_skipped is not None:
            self._on_skipped(self.names[number], reason)

    def _read_broken(self) -> dict[int, str]:
        """Read which files are known to be broken; skip a last line that was cut."""
        try:
            lines = self._skipped_path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        reasons: dict[str, str] = {}
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                name, reason = json.loads(line)
                reasons[name] = str(reason)
        return {number: reasons[name] for number, name in enumerate(self.names) if name in reasons}


def index_images(
    source: ImageSource, directory: Path, config: ImageConfig, *, on_skipped: OnSkipped | None = None
) -> StreamedImages:
    """Write down in a new folder which images there are and how to read them; none of them is read now.

    Raises:
        DataError: If there are fewer than two images.
    """
    if len(source) < 2:
        raise DataError(f"at least two images are needed, got {len(source)} in {source.origin}")
    collection = split_images(source, range(len(source)), config).to_header()
    with atomic_directory(directory) as partial:
        header = {"origin": source.origin, **shape_header(config), "resize": config.resize, **collection}
        write_header(partial / _INDEX, _MAGIC, _VERSION, header)
    return StreamedImages(directory, source=source, on_skipped=on_skipped)


def open_prepared(directory: Path, *, on_skipped: OnSkipped | None = None) -> Images:
    """Open prepared images, whether decoded or streamed.

    Raises:
        DataError: If there are none, they are damaged, or streamed ones have moved.
    """
    if (directory / _INDEX).exists():
        return StreamedImages(directory, on_skipped=on_skipped)
    return ImageStore.open(directory)
