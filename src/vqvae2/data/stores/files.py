"""The files of a store: a JSON header that says what is there, and arrays mapped into memory.

Both may come from others: nothing is unpickled, and neither reading the header nor mapping the arrays takes memory that
the files do not have, see `docs/trust.md`.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from vqvae2.errors import DataError
from vqvae2.system.json_files import read_json

__all__ = ["create_array", "is_positive", "open_array", "read_header", "read_labels", "read_list", "write_header"]

_MAX_HEADER_BYTES = 2**29  # the names of ten million images
# NumPy takes the header for Python's own literals, and may meet anything in it.
_BROKEN = (OSError, ValueError, TypeError, OverflowError, RecursionError, MemoryError, SyntaxError, TokenError)
_NPY_BEGINNING = b"\x93NUMPY\x01\x00"  # of version 1.0, whose header cannot claim more than 64 KiB


def write_header(path: Path, magic: str, version: int, values: dict[str, Any]) -> None:
    """Write a store's header."""
    path.write_text(json.dumps({"magic": magic, "version": version, **values}))


def read_header(path: Path, magic: str, version: int) -> dict[str, Any]:
    """Read a store's header.

    Raises:
        DataError: If it is missing, damaged, or of another format or version.
    """
    try:
        values = read_json(path, max_bytes=_MAX_HEADER_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{path.parent} is not a store of {magic}: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged; delete {path.parent} and make it again") from error
    if not isinstance(values, dict) or values.get("magic") != magic:
        raise DataError(f"{path} must be the header of {magic}, but is of something else")
    if values.get("version") != version:
        raise DataError(
            f"{path} is of format version {values.get('version')}, this package reads {version}; "
            f"delete {path.parent} and make it again"
        )
    return values


def read_list(
    header: dict[str, Any], name: str, of: type | tuple[type, ...], *, length: int | None = None
) -> list[Any]:
    """Give a header's list, all of whose entries are of the given types, and not of subtypes of these.

    Raises:
        KeyError: If there is none of this name.
        ValueError: If it is something else, or of another length.
    """
    values = header[name]
    types = of if isinstance(of, tuple) else (of,)
    if not isinstance(values, list) or not all(type(value) in types for value in values):
        raise ValueError(f"{name} must be a list of {' or '.join(kind.__name__ for kind in types)}")
    if length is not None and len(values) != length:
        raise ValueError(f"{name} must have {length} entries, but has {len(values)}")
    return values


def read_labels(header: dict[str, Any], num_images: int) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Give the class of each image, int64 `(N,)`, the names of the classes, and which images are held out, bool `(N,)`.

    Raises:
        KeyError: If one of them is missing.
        ValueError: If one is something else, or a label is neither a class nor -1, for none.
    """
    classes = read_list(header, "classes", str)
    labels = read_list(header, "labels", int, length=num_images)
    if labels and not -1 <= min(labels) <= max(labels) < len(classes):
        raise ValueError(f"labels must be in -1..{len(classes) - 1}")
    is_validation = read_list(header, "is_validation", bool, length=num_images)
    return np.array(labels, dtype=np.int64), tuple(classes), np.array(is_validation, dtype=bool)


def is_positive(value: Any) -> bool:
    """Whether a header's value is a whole number above 0, and no truth value."""
    return type(value) is int and value > 0


def create_array(path: Path, *, shape: tuple[int, ...], dtype: type[np.generic]) -> np.memmap:
    """Make an `.npy` file of zeros and map it into memory, writable.

    Raises:
        DataError: If the disk has no room for it.
    """
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(path.parent).free
    if wanted > free:  # the file starts sparse: without a look, the process would be killed half-way
        raise DataError(f"{path.parent.parent} needs {wanted / 1e9:.3g} GB, but the disk has {free / 1e9:.3g} GB free")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def open_array(
    path: Path, *, shape: tuple[int, ...], dtypes: tuple[type[np.generic], ...], writable: bool = False
) -> np.memmap:
    """Map an `.npy` file into memory.

    Args:
        path: The file.
        shape: That it must have.
        dtypes: Of which it must have one, in the machine's byte order.
        writable: Whether what is changed is written back.

    Raises:
        DataError: If it is missing, damaged, or not of this shape and one of these types.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_NPY_BEGINNING)) != _NPY_BEGINNING:
                raise ValueError("not an array")
        array = np.lib.format.open_memmap(path, mode="r+" if writable else "r")
    except _BROKEN as error:
        raise DataError(f"{path} is missing or damaged; delete {path.parent} and make it again") from error
    if array.shape != shape or array.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        raise DataError(f"{path} must hold {shape}, but holds {array.dtype} {array.shape}; make {path.parent} again")
    return array
