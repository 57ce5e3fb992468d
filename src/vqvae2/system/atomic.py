"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_directory", "atomic_write_bytes", "remove_leftovers"]


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its place, then move it there, which replaces an earlier file in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # an error of a full disk names no file
            error.filename = str(path)
        raise


def remove_leftovers(directory: Path, name: str) -> None:
    """Remove what `atomic_write_bytes` leaves in a folder if its process is killed.

    Args:
        directory: The folder.
        name: Name of the files that were to be written; may be a pattern.
    """
    for path in directory.glob(f".{name}.*"):
        if path.suffix[1:].isdigit() and path.is_file():
            path.unlink()


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes its place at the end, or vanishes if an error is raised.

    Removes what a killed attempt left behind. Nothing may exist at the place yet.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
