"""The files of a store: a JSON header that says what is there, and arrays mapped into memory."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.errors import DataError

__all__ = ["create_array", "open_array", "read_header", "write_header"]


def write_header(path: Path, magic: str, version: int, values: dict[str, Any]) -> None:
    """Write a store's header."""
    path.write_text(json.dumps({"magic": magic, "version": version, **values}))


def read_header(path: Path, magic: str, version: int) -> dict[str, Any]:
    """Read a store's header.

    Raises:
        DataError: If it is missing, damaged, or of another format or version.
    """
    try:
        values = json.loads(path.read_text())
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


def open_array(path: Path, *, shape: tuple[int, ...], dtypes: tuple[type[np.generic], ...]) -> np.ndarray:
    """Map an `.npy` file into memory, read-only.

    Raises:
        DataError: If it is missing, damaged, or not of this shape and one of these types.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is missing or damaged; delete {path.parent} and make it again") from error
    if array.shape != shape or array.dtype.type not in dtypes:
        raise DataError(f"{path} must hold {shape}, but holds {array.dtype} {array.shape}; make {path.parent} again")
    return array
