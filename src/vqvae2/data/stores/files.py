"""The files of a store: a JSON header that says what is there, and arrays mapped into memory.

Both may come from others. Nothing is unpickled, and neither reading the header nor mapping the arrays takes memory that
the files do not have; see `docs/trust.md`.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from vqvae2.errors import DataError
from vqvae2.system.files import read_json

__all__ = ["create_array", "open_array", "read_header", "shorten_array", "write_header"]

_Header = TypeVar("_Header", bound=BaseModel)

_MAX_HEADER_BYTES = 2**29  # the names of ten million images
# NumPy evaluates the header as Python literals, and may fail in any of these ways.
_BROKEN = (OSError, ValueError, TypeError, OverflowError, RecursionError, MemoryError, SyntaxError, TokenError)
_NPY_BEGINNING = b"\x93NUMPY\x01\x00"  # of version 1.0, whose header cannot claim more than 64 KiB


def write_header(path: Path, magic: str, version: int, values: Mapping[str, object]) -> None:
    """Write a store's header."""
    path.write_text(json.dumps({"magic": magic, "version": version, **values}))


def read_header(path: Path, magic: str, version: int, kind: type[_Header]) -> _Header:
    """Read a store's header and check its values.

    Raises:
        DataError: If it is missing, damaged, or of another format or version.
    """
    damaged = f"{path} is damaged; delete {path.parent} and make it again"
    try:
        values = read_json(path, max_bytes=_MAX_HEADER_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{path.parent} is not a store of {magic}: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise DataError(damaged) from error
    if not isinstance(values, dict) or values.get("magic") != magic:
        raise DataError(f"{path} must be the header of {magic}, but is of something else")
    if values.get("version") != version:
        raise DataError(
            f"{path} is of format version {values.get('version')}, this package reads {version}; "
            f"delete {path.parent} and make it again"
        )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise DataError(damaged) from error


def create_array(path: Path, *, shape: tuple[int, ...], dtype: type[np.generic]) -> np.memmap:
    """Make an `.npy` file of zeros and map it into memory, writable.

    Raises:
        DataError: If the disk has no room for it.
    """
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(path.parent).free
    if wanted > free:  # the file starts sparse: without this check, a full disk would kill the process half-way
        raise DataError(f"{path.parent.parent} needs {wanted / 1e9:.3g} GB, but the disk has {free / 1e9:.3g} GB free")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def open_array(
    path: Path, *, shape: tuple[int, ...], dtypes: tuple[type[np.generic], ...], writable: bool = False
) -> np.memmap:
    """Map an `.npy` file into memory; where it is `writable`, changes are written back.

    Raises:
        DataError: If it is missing, damaged, or of another shape or none of these types in the machine's byte order.
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


def shorten_array(path: Path, count: int) -> None:
    """Keep the first `count` rows of an `.npy` file that nobody has mapped."""
    array = np.load(path, mmap_mode="r")
    shape, offset, row_bytes = (count, *array.shape[1:]), array.offset, array.strides[0]
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": shape}
    del array
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == offset  # NumPy pads headers so that the number of rows may change
        file.truncate(offset + count * row_bytes)
