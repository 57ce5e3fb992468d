"""Arrays on disk that are filled row by row, for hours if need be, and survive being stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.atomic import atomic_write_bytes
from vqvae2.data.store_files import create_array, write_header
from vqvae2.processes import first_decides, is_first_process

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
        progress = self._read_progress()
        if progress.get("arrays") == self._wanted:
            self._arrays = {name: np.load(self.partial / f"{name}.npy", mmap_mode="r+") for name in arrays}
            num_rows: int = progress["num_rows"]
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

    def _read_progress(self) -> dict[str, Any]:
        try:
            progress = json.loads((self.partial / "progress.json").read_text())
        except (OSError, ValueError):
            return {}
        return progress if isinstance(progress, dict) else {}
