"""Arrays on disk that are filled row by row, for hours if need be, and resume after a stop."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np

from vqvae2.data.stores.files import create_array, open_array, write_header
from vqvae2.system.files import atomic_write_bytes, read_json
from vqvae2.system.processes import first_decides, is_first_process

__all__ = ["GrowingArrays"]

_SAVE_SECONDS = 1.0  # between two saves: waiting for the disk after every batch would slow a GPU down


class GrowingArrays(AbstractContextManager["GrowingArrays"]):
    """A folder of `.npy` files with equally many rows, filled in order; it takes its place when it is complete.

    An earlier attempt at the same place, arrays and `identity` is resumed: after an error, from its last row; after a
    kill, from what it had about a second before. The first of several processes writes; all must make the same calls.

    Args:
        directory: Where the folder appears.
        arrays: Shape, rows first, and type of each file, by its name without `.npy`.
        identity: Tells what the rows are of, so that those of something else are not resumed.
    """

    def __init__(
        self,
        directory: Path,
        arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]],
        *,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self.partial = directory.with_name(f".{directory.name}.partial")
        """The folder until it is complete."""
        self._wanted = {
            "arrays": {name: [list(shape), np.dtype(dtype).str] for name, (shape, dtype) in arrays.items()},
            "identity": dict(identity or {}),
        }
        self.arrays: dict[str, np.memmap] = {}
        """All rows, also those that are not written yet; of the first process only."""
        self.num_rows = first_decides(lambda: self._begin(arrays))
        """Rows that are written."""
        self._saved_at = -_SAVE_SECONDS

    def append(self, **rows: np.ndarray) -> None:
        """Write the next rows of every array."""
        start, stop = self.num_rows, self.num_rows + len(next(iter(rows.values())))
        self.num_rows = stop
        for name, array in self.arrays.items():
            assert array[start:stop].shape == rows[name].shape, "NumPy would repeat a smaller batch"
            array[start:stop] = rows[name]
        if time.perf_counter() - self._saved_at >= _SAVE_SECONDS:
            self._save()

    def finish(self, name: str, magic: str, version: int, values: Mapping[str, object]) -> None:
        """Write the header `name` of the folder, see `write_header`, and put the folder in its place."""

        def finish() -> None:
            for array in self.arrays.values():
                array.flush()
            write_header(self.partial / name, magic, version, values)
            self.partial.replace(self._directory)
            (self._directory / "progress.json").unlink(missing_ok=True)  # there is none of no rows

        first_decides(finish)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None and self.partial.exists():
            self._save()

    def _save(self) -> None:
        if is_first_process():
            for array in self.arrays.values():
                array.flush()  # first, so that the progress never promises rows that are not on disk
            progress = {**self._wanted, "num_rows": self.num_rows}
            atomic_write_bytes(self.partial / "progress.json", json.dumps(progress).encode())
            self._saved_at = time.perf_counter()

    def _begin(self, arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]) -> int:
        """Open the files of an earlier attempt, or make new ones; return how many rows they have."""
        try:
            wanted = read_json(self.partial / "progress.json")
            num_rows = wanted.pop("num_rows")
            self.arrays = {
                name: open_array(self.partial / f"{name}.npy", shape=shape, dtypes=(dtype,), writable=True)
                for name, (shape, dtype) in arrays.items()
            }
            most = min(map(len, self.arrays.values()))
            if wanted == self._wanted and type(num_rows) is int and 0 <= num_rows <= most:
                return num_rows
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, damaged, or of something else
            pass
        self.arrays = {}
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        for name, (shape, dtype) in arrays.items():
            self.arrays[name] = create_array(self.partial / f"{name}.npy", shape=shape, dtype=dtype)
        return 0
