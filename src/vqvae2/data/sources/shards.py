"""Files of which parts are read: a shard on a disk, or anywhere else that can give a range of bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vqvae2.data.sources.source import ShardError

__all__ = ["ByteFile", "LocalFile", "ReadAhead", "SeekableFile", "for_each_file"]

_FILES_AT_A_TIME = 16  # waiting for a network, mostly

S = TypeVar("S")
T = TypeVar("T")


class ByteFile(Protocol):
    """A file that any thread may read from, anywhere in it."""

    @property
    def name(self) -> str:
        """Path within the set, with forward slashes."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        ...

    @property
    def size(self) -> int:
        """In bytes, as it was when it was opened."""
        ...

    @property
    def look_ahead(self) -> int:
        """How many bytes are worth reading at a time where only a few are asked for, again and again."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Read just so many bytes.

        Raises:
            ShardError: If they are not there, or no longer.
        """
        ...


class LocalFile:
    """A `ByteFile` on a disk. It is opened for each reading, so that no number of shards is too large.

    Raises:
        ShardError: If it cannot be opened.
    """

    look_ahead = 2**13

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name, self.place = path, name, str(path)
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise ShardError(f"{path} cannot be read ({error.strerror}); put it back, or leave it out") from error

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                while length > 0 and (part := os.pread(descriptor, length, offset)):
                    parts.append(part)
                    offset, length = offset + len(part), length - len(part)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ShardError(f"{self.path} can no longer be read ({error.strerror}); put it back") from error
        if length > 0:
            raise ShardError(f"{self.path} was cut after it was opened: byte {offset} is not there; put it back")
        return parts[0] if len(parts) == 1 else b"".join(parts)


class ReadAhead:
    """A `ByteFile` of which one thread reads a little here and a little further on; what follows is read at once."""

    def __init__(self, file: ByteFile) -> None:
        self._file, self._start, self._data = file, 0, b""
        self.name, self.place, self.size, self.look_ahead = file.name, file.place, file.size, file.look_ahead

    def read(self, offset: int, length: int) -> bytes:
        if offset < self._start or offset + length > self._start + len(self._data):
            wanted = min(max(length, self.look_ahead), max(length, self.size - offset))
            self._start, self._data = offset, self._file.read(offset, wanted)
        return self._data[offset - self._start : offset - self._start + length]


def for_each_file(do: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Do something for each of many files, several at a time; give the results in order.

    A set on a network may have thousands of them, and each has to be asked for what it holds.
    """
    pool = ThreadPoolExecutor(_FILES_AT_A_TIME)
    try:
        return list(pool.map(do, items))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, the others are not waited for


class SeekableFile(io.RawIOBase):
    """A `ByteFile` as the file object that other libraries want."""

    def __init__(self, file: ByteFile) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        rest = max(0, self._file.size - self._position)
        length = rest if size is None or size < 0 else min(size, rest)
        data = self._file.read(self._position, length) if length else b""
        self._position += length
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
