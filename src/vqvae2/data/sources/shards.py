"""Files that hold many images, on a disk or a server, read one range of bytes at a time through fsspec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vqvae2.data.sources.source import ShardError

__all__ = ["Read", "Shard", "for_each_shard", "local_shard"]

Read = Callable[[int, int], bytes]
"""Reads `length` bytes from `offset` on."""

_LOOK_AHEAD_BYTES = 2**20  # fetched from a server where a few bytes are read again and again
_SHARDS_AT_A_TIME = 16  # mostly waiting for a network

S = TypeVar("S")
T = TypeVar("T")


class Shard(NamedTuple):
    """One file. Each read opens it anew, so any thread or process may read, and no number of shards is too large."""

    system: Any
    """Its `fsspec.AbstractFileSystem`."""
    path: str
    """Path in that file system; names the file in messages."""
    name: str
    """Path within the set, with forward slashes."""
    size: int
    """In bytes, when the set was opened."""
    failures: tuple[type[Exception], ...] = (OSError, ValueError)
    """What the file system raises if it cannot read."""

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes.

        Raises:
            ShardError: If they cannot be read.
        """
        with self.reader(cache_type="none") as read:
            return read(offset, length)

    @contextmanager
    def reader(self, **options: Any) -> Iterator[Read]:
        """Open the file for many small reads one after the other; unless `options` say else, it is fetched ahead.

        Raises:
            ShardError: If it cannot be read.
        """

        def read(offset: int, length: int) -> bytes:
            with self.reported():
                file.seek(offset)
                data: bytes = file.read(length)
            if len(data) != length:
                raise ShardError(
                    f"{self.path} gave {len(data)} of {length} bytes at {offset}: it was cut, or its server gives no "
                    "ranges; fetch it again"
                )
            return data

        with self.reported():
            file = self.open(**{"cache_type": "readahead", "block_size": _LOOK_AHEAD_BYTES} | options)
        with file:
            yield read

    def open(self, **options: Any) -> Any:
        """Open the file for a library that seeks; unless `options` say else, each of its reads is one request."""
        return self.system.open(self.path, "rb", size=self.size, **({"cache_type": "none"} | options))

    @contextmanager
    def reported(self, *failures: type[Exception]) -> Iterator[None]:
        """Turn these failures and those of the file system into a `ShardError`."""
        try:
            yield
        except ShardError:
            raise
        except (*self.failures, *failures) as error:
            raise ShardError(
                f"{self.path} cannot be read ({reason(error)}); restore it, then run the same command again"
            ) from error


def local_shard(path: Path, name: str) -> Shard:
    """Find a shard on a disk; `name` is its path within the set.

    Raises:
        ShardError: If it does not exist or may not be read.
    """
    from fsspec.implementations.local import LocalFileSystem

    try:
        size = path.stat().st_size
    except OSError as error:
        raise ShardError(f"{path} cannot be read ({error.strerror}); restore it, or leave it out") from error
    return Shard(LocalFileSystem(), str(path.absolute()), name, size)


def reason(error: Exception) -> str:
    """Give the first line of what an error says."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


def for_each_shard(do: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Do something for each of many shards, several at a time; return the results in order.

    A set on a network may have thousands of them, and each must be asked for what it holds.
    """
    with ThreadPoolExecutor(_SHARDS_AT_A_TIME) as pool:
        return list(pool.map(do, items))  # after an error, those that have not begun are left out
