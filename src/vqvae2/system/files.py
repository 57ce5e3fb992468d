"""Files and folders: written whole or not at all, shared with the user, and JSON that may come from others."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from vqvae2.errors import OutputError

__all__ = [
    "MAX_JSON_BYTES",
    "atomic_directory",
    "atomic_write_bytes",
    "claim_folder",
    "read_json",
    "remove_entries",
    "remove_leftovers",
    "require_small_header",
]

MAX_JSON_BYTES = 2 * 2**20
"""Of a config or a record, which grow at most with the number of classes."""

_MAX_HEADER_BYTES = 4 * 2**20  # ten times what a thousand layers need


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
    """Remove what `atomic_write_bytes` leaves of files with this name or pattern if its process is killed."""
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


def remove_entries(directory: Path, entries: Sequence[str]) -> None:
    """Remove files and folders of these names, in this order, as far as they exist; everything else stays."""
    for path in (directory / name for name in entries):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def claim_folder(directory: Path, entries: Sequence[str], *, owner: str, force: bool) -> None:
    """Make a folder if it is missing, and make sure that no entry that will be written there replaces anything.

    Errors say whose folder it is, the `owner`, in words. `force` allows other files beside the entries.

    Raises:
        OutputError: If the folder holds other files, or files whose names are needed.
    """
    taken = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    if directory.is_file() or (taken and not force):
        raise OutputError(
            f"{directory} must be a new or empty folder, but holds files that are not of {owner}; "
            "choose another, or use --force to write beside them"
        )
    in_the_way = sorted(set(taken) & set(entries))
    if in_the_way:
        raise OutputError(f"{directory} holds {', '.join(in_the_way)}, which are not of {owner}; choose another folder")
    directory.mkdir(parents=True, exist_ok=True)


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES, allow_nan: bool = False) -> Any:
    """Parse a JSON file; `allow_nan` accepts NaN and the infinities, which Python writes though JSON lacks them.

    The values take up to some 40 times the memory of their text, as nested lists do.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it cannot be read, or is not a regular file: a pipe, for example, might never end.
        ValueError: If it is larger, not JSON in UTF-8, or nested too deeply.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # before it is opened: a pipe would wait for its writer
        raise OSError(f"{path} is not a regular file")
    if found.st_size > max_bytes:
        raise ValueError(f"it is larger than {max_bytes} bytes")
    with path.open("rb") as file:
        data = file.read(max_bytes)
    try:
        return json.loads(data.decode(), parse_constant=None if allow_nan else _refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def require_small_header(path: Path) -> None:
    """Refuse a safetensors file whose JSON header claims to be huge; the format allows 100 MB.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the header is too large.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {size} bytes, and at most {_MAX_HEADER_BYTES} are read")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
