"""Arrays on disk that are filled row by row, for hours if need be, and survive being stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.data.stores.files import create_array, open_array, write_header
from vqvae2.system.atomic import atomic_write_bytes
from vqvae2.system.json_files import read_json
from vqvae2.system.processes import first_decides, is_first_process

__all__ = ["GrowingArrays"]


class GrowingArrays:
    """A folder of `.npy` files with as many rows each, filled in their order; it takes its place when it is complete.

    An earlier attempt at the same place, with the same arrays, is gone on with. The first of several processes writes;
    all of them must make the same calls.

    Args:
        directory: Where the folder appears.
        arrays: Shape, rows first, and type of each file, by its name without `.npy`.
    """

    def __init__(self, directory: Path, arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]) -> None:
        self._directory = directory
        self.partial = directory.with_name(f".{directory.name}.partial")
        """The folder until it is complete."""
        self._wanted = {name: [list(shape), np.dtype(dtype).str] for name, (shape, dtype) in arrays.items()}
        self._arrays: dict[str, np.memmap] = {}
        self.num_rows = first_decides(lambda: self._begin(arrays))
        """Rows that are written."""

    def _begin(self, arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]) -> int:
        """Open the files of an earlier attempt, or make new ones; say how many rows they have."""
        earlier = self._open_earlier(self._wanted, arrays)
        if earlier is not None:
            num_rows, self._arrays = earlier
            return num_rows
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        self._arrays = {
            name: create_array(self.partial / f"{name}.npy", shape=shape, dtype=dtype)
            for name, (shape, dtype) in arrays.items()
        }
        return 0

    def append(self, **rows: np.ndarray) -> None:
        """Write the next rows of every array."""
        start, stop = self.num_rows, self.num_rows + len(next(iter(rows.values())))
        self.num_rows = stop
        if not is_first_process():
            return
        for name, array in self._arrays.items():
            array[start:stop] = rows[name]
            array.flush()
        progress = {"arrays": self._wanted, "num_rows": stop}
        atomic_write_bytes(self.partial / "progress.json", json.dumps(progress).encode())

    def finish(self, name: str, magic: str, version: int, values: dict[str, Any]) -> None:
        """Write the header `name` of the folder, see `write_header`, and put the folder in its place."""

        def finish() -> None:
            write_header(self.partial / name, magic, version, values)
            self.partial.replace(self._directory)
            (self._directory / "progress.json").unlink(missing_ok=True)  # there is none of no rows

        first_decides(finish)

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
