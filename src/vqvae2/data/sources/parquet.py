"""Images in Parquet files, as `datasets` and the Hugging Face Hub keep them."""

from __future__ import annotations

import bisect
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from pyarrow import parquet

from vqvae2.data.sources.layout import classes_of, split_of_files
from vqvae2.data.sources.shards import Shard, for_each_shard
from vqvae2.data.sources.source import ImageSource, ReadingUnits, ShardError, require_image_bytes
from vqvae2.errors import DataError

__all__ = ["MAX_ROW_GROUP_BYTES", "ParquetImages"]

MAX_ROW_GROUP_BYTES = 2**29
"""Of a row group's images, unpacked: each is read as a whole. `datasets` writes some ten million bytes."""

_MAX_GROUP_ROWS = 2**20  # equal rows take no room in a file, but each has a name here
_ROWS_AT_A_TIME = 2**16
_CACHED_BYTES = 2**29  # of row groups; beyond it, the oldest make room for the next one
_MAX_CACHED = 256  # row groups
_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "picture")
_FAILURES = (pyarrow.ArrowException, MemoryError)
_LABEL_COLUMNS = ("label", "labels", "cls", "class", "fine_label")


class ParquetImages(ImageSource):
    """Images in one or more Parquet files, in the order of the files and their rows.

    The column of images holds bytes, or bytes and paths. Column, label and class names are those that `datasets` notes
    in the files, or else a column named `image` and one named `label`, of numbers or names. Files named `train` and
    `validation` (or `valid`, `val`, `test`) are the split. The latest row groups stay in memory.

    Raises:
        ShardError: If a file is missing, damaged or cut.
        DataError: If there are no images, or a row group is larger than `MAX_ROW_GROUP_BYTES`.
    """

    def __init__(self, files: Sequence[Shard], *, origin: str) -> None:
        used, given = split_of_files([file.name for file in files])
        self.origin = origin
        self._tables = for_each_shard(_Table, [files[index] for index in used])
        counts = [table.num_rows for table in self._tables]
        if not sum(counts):
            raise DataError(f"`images` must be Parquet files with images, but {origin} has no rows")
        self.names = tuple(itertools.chain.from_iterable(for_each_shard(_Table.names, self._tables)))
        self.classes, self.labels = _classes_of(self._tables)
        self.given_validation = None if given is None else np.repeat(given, counts)
        groups = [(table, group) for table in self._tables for group in range(len(table.group_rows))]
        self._groups = [(table, group) for table, group in groups if table.group_rows[group]]
        rows = [table.group_rows[group] for table, group in self._groups]
        self._starts = [0, *itertools.accumulate(rows)]
        largest = max(table.group_bytes[group] for table, group in self._groups)
        self._window = max(2, min(_MAX_CACHED, _CACHED_BYTES // max(1, largest)))
        self.units = ReadingUnits(np.repeat(np.arange(len(rows)), rows), self._window)
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, index: int) -> bytes:
        group = bisect.bisect_right(self._starts, index) - 1
        value = self._read_group(group)[index - self._starts[group]]
        if not value.is_valid:
            raise DataError("the row holds no image")
        data = value.as_buffer()
        require_image_bytes(data.size)
        image: bytes = data.to_pybytes()
        return image

    def _read_group(self, group: int) -> Any:
        with self._lock:  # or several threads would read the same group
            if group in self._cache:
                self._cache.move_to_end(group)
                return self._cache[group]
            cached_bytes = sum(images.nbytes for images in self._cache.values())
            while self._cache and (len(self._cache) >= self._window or cached_bytes > _CACHED_BYTES):
                cached_bytes -= self._cache.popitem(last=False)[1].nbytes
            table, number = self._groups[group]
            self._cache[group] = table.read_images(number)
            return self._cache[group]


class _Columns(NamedTuple):
    """Which columns are read, as paths in the file."""

    image: str
    path: str | None
    label: str | None
    class_names: list[str] | None


class _Table:
    """One file: what its footer says, and its columns as they are asked for."""

    def __init__(self, file: Shard) -> None:
        self._file = file
        with file.reported(*_FAILURES), file.open() as raw:
            opened = parquet.ParquetFile(raw)
            self._metadata, schema = opened.metadata, opened.schema_arrow
        self.columns = _find_columns(file, schema)
        self.num_rows: int = self._metadata.num_rows
        self._leaves = {self._metadata.schema.column(i).path: i for i in range(self._metadata.num_columns)}
        groups = [self._metadata.row_group(number) for number in range(self._metadata.num_row_groups)]
        self.group_rows = [int(group.num_rows) for group in groups]
        if min(self.group_rows, default=0) < 0 or sum(self.group_rows) != self.num_rows:
            raise ShardError(f"{file.path} is damaged: its row groups do not add up; fetch it again")
        if max(self.group_rows, default=0) > _MAX_GROUP_ROWS:
            raise DataError(
                f"{file.path} has {max(self.group_rows)} rows in a row group, and at most {_MAX_GROUP_ROWS} are "
                "read; write it with smaller row groups"
            )
        self.group_bytes = [0] * len(groups)
        for path in filter(None, (self.columns.image, self.columns.path, self.columns.label)):
            for number, group in enumerate(groups):
                column = group.column(self._leaves[path])
                size = max(column.total_uncompressed_size, column.total_compressed_size)
                if not 0 <= size <= MAX_ROW_GROUP_BYTES:
                    raise DataError(
                        f"{file.path} has {size} bytes of `{path}` in row group {number}, and at most "
                        f"{MAX_ROW_GROUP_BYTES} are read; write it with smaller row groups"
                    )
                if path == self.columns.image:
                    self.group_bytes[number] = size

    def names(self) -> list[str]:
        """Name each row by its path, if all differ, or by its number."""
        paths = self._read_all(self.columns.path) if self.columns.path else []
        usable = bool(paths) and None not in paths and len(set(paths)) == len(paths)
        return [f"{self._file.name}/{paths[row] if usable else f'{row:07d}'}" for row in range(self.num_rows)]

    def labels(self) -> list[int | str | None]:
        return self._read_all(self.columns.label) if self.columns.label else [None] * self.num_rows

    def read_images(self, group: int) -> Any:
        """Read the images of a row group, as an Arrow array of bytes."""
        return pyarrow.chunked_array(self._read(self.columns.image, [group]))

    def _read_all(self, path: str) -> list[Any]:
        return [value for part in self._read(path, range(len(self.group_rows))) for value in part.to_pylist()]

    def _read(self, path: str, groups: Sequence[int]) -> list[Any]:
        """Read one column of some row groups, as Arrow arrays."""
        with self._file.reported(*_FAILURES), self._file.open() as file:
            opened = parquet.ParquetFile(file, metadata=self._metadata)
            parts = [part for group in groups for part in self._read_parts(opened, path, group)]
        found, expected = sum(map(len, parts)), sum(self.group_rows[group] for group in groups)
        if found != expected:
            raise ShardError(f"{self._file.path} is damaged: {found} rows of {expected}; fetch it again")
        return parts

    def _read_parts(self, opened: Any, path: str, group: int) -> Iterator[Any]:
        """Read one column of a row group, at most `MAX_ROW_GROUP_BYTES` in all."""
        # Equal values may be stored once and unfold to far more. A batch has so few rows that it stays below the limit
        # even if each is as large as all that is stored.
        stored = max(1, self._metadata.row_group(group).column(self._leaves[path]).total_uncompressed_size)
        rows, total = max(1, MAX_ROW_GROUP_BYTES // stored), 0
        for batch in opened.iter_batches(batch_size=min(rows, _ROWS_AT_A_TIME), row_groups=[group], columns=[path]):
            total += batch.nbytes
            if total > MAX_ROW_GROUP_BYTES:
                raise ShardError(
                    f"{self._file.path} has more than {MAX_ROW_GROUP_BYTES} bytes of `{path}` in row group {group}, "
                    "more than it says; write it with smaller row groups"
                )
            column = batch.column(0)
            yield column.flatten()[0] if pyarrow.types.is_struct(column.type) else column  # the field that was read


def _find_columns(file: Shard, schema: Any) -> _Columns:
    features = _features_of(schema)
    images = [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]
    images = images or [name for name in _IMAGE_COLUMNS if name in schema.names and _image_path(schema, name)]
    images = images or [name for name in schema.names if _image_path(schema, name)]
    path = _image_path(schema, images[0]) if images else None
    if path is None:
        raise DataError(
            f"{file.path} must have a column of images, bytes or a struct with `bytes`, "
            f"but has {', '.join(schema.names)}"
        )
    is_struct = path != images[0]
    labels = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    labels = labels or [name for name in _LABEL_COLUMNS if name in schema.names and _is_label(schema, name)]
    label = "label" if "label" in labels else next(iter(labels), None)
    names = features.get(label or "", {}).get("names")
    fields = [field.name for field in schema.field(images[0]).type] if is_struct else []
    return _Columns(
        image=path,
        path=f"{images[0]}.path" if "path" in fields else None,
        label=label,
        class_names=[str(name) for name in names] if isinstance(names, list) else None,
    )


def _features_of(schema: Any) -> dict[str, dict[str, Any]]:
    """What `datasets` notes about each column; nothing if another program wrote the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _image_path(schema: Any, name: str) -> str | None:
    kind = schema.field(name).type
    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return name
    if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{name}.bytes"
    return None


def _is_label(schema: Any, name: str) -> bool:
    kind = schema.field(name).type
    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _classes_of(tables: Sequence[_Table]) -> tuple[tuple[str, ...], np.ndarray]:
    names = tables[0].columns.class_names
    found = [label for labels in for_each_shard(_Table.labels, tables) for label in labels]
    if names is None:
        return classes_of(found)
    in_range = all(v is None or (isinstance(v, int) and -1 <= v < len(names)) for v in found)
    if not in_range or any(table.columns.class_names != names for table in tables):
        raise DataError(f"labels must be numbers of the {len(names)} classes of the first file; make all files alike")
    return tuple(names), np.array([-1 if label is None else label for label in found], dtype=np.int64)
