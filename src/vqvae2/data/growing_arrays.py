"""Arrays on disk that are filled row by row, for hours if need be, and survive being stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.atomic import atomic_write_bytes
from vqvae2.data.store_files import create_array, open_array
from vqvae2.json_files import read_json

__all__ = ["GrowingArrays"]


class GrowingArrays:
    """A folder of `.npy` files with as many rows each, filled in their order; it takes its place when it is complete.

    An earlier attempt at the same place, with the same arrays, is gone on with.

    Args:
        directory: Where the folder appears.
        arrays: Shape, rows first, and type of each file, by its name without `.npy`.
    """

    def __init__(self, directory: Path, arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]) -> None:
        self._directory = directory
        self.partial = directory.with_name(f".{directory.name}.partial")
        """The folder until it is complete; what else is written into it goes along."""
        wanted = {name: [list(shape), np.dtype(dtype).str] for name, (shape, dtype) in arrays.items()}
        earlier = self._open_earlier(wanted, arrays)
        if earlier is not None:
            self.num_rows, self._arrays = earlier
        else:
            self.num_rows = 0
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True)
            self._arrays = {
                name: create_array(self.partial / f"{name}.npy", shape=shape, dtype=dtype)
                for name, (shape, dtype) in arrays.items()
            }
        self._wanted = wanted

    def append(self, **rows: np.ndarray) -> None:
        """Write the next rows of every array."""
        start, stop = self.num_rows, self.num_rows + len(next(iter(rows.values())))
        for name, array in self._arrays.items():
            array[start:stop] = rows[name]
            array.flush()
        self.num_rows = stop
        progress = {"arrays": self._wanted, "num_rows": stop}
        atomic_write_bytes(self.partial / "progress.json", json.dumps(progress).encode())

    def finish(self) -> None:
        """Put the folder in its place."""
        (self.partial / "progress.json").unlink(missing_ok=True)  # there is none of no rows
        self.partial.replace(self._directory)

    def _open_earlier(
        self, wanted: dict[str, Any], arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]
    ) -> tuple[int, dict[str, np.memmap]] | None:
        """Find what an earlier attempt has done; None if there is none, or it was at something else, or is damaged."""
        try:
            progress = read_json(self.partial / "progress.json")
            num_rows = progress["num_rows"]
            if progress["arrays"] != wanted or type(num_rows) is not int:
                return None
            opened = {
                name: open_array(self.partial / f"{name}.npy", shape=shape, dtypes=(dtype,), writable=True)
                for name, (shape, dtype) in arrays.items()
            }
        except (OSError, ValueError, KeyError, TypeError):  # of which DataError is one
            return None
        return (num_rows, opened) if 0 <= num_rows <= min(map(len, opened.values())) else None
