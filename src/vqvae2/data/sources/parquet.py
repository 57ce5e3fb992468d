"""Images in Parquet files, as `datasets` and the Hugging Face Hub keep them."""

from __future__ import annotations

import bisect
import itertools
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from pyarrow import parquet

from vqvae2.data.sources.layout import label_name, layout_of, split_of_files
from vqvae2.data.sources.left_aside import LeftAside
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
_LABEL_COLUMNS = ("label", "labels", "cls", "class", "category", "target", "fine_label")  # in any case


class ParquetImages(ImageSource):
    """Images in one or more Parquet files, in the order of the files and their rows.

    The column of images holds bytes, or bytes and paths. Column, label and class names are those that `datasets` notes
    in the files, or else a column named `image` and one named `label`, of numbers, names or categories; without such
    a column, classes are those that `layout_of` reads off the paths. Files named `train` and `validation` (or `valid`,
    `val`, `test`) are the split, or else folders in the paths. The latest row groups stay in memory.

    Raises:
        ShardError: If a file is missing, damaged or cut.
        DataError: If there are no images, or a row group is larger than `MAX_ROW_GROUP_BYTES`.
    """

    def __init__(self, files: Sequence[Shard], *, origin: str, left_aside: LeftAside) -> None:
        file_names = [file.name for file in files]
        split = split_of_files(file_names)
        left_aside.add_unused("files outside of the split", file_names, split.used)
        self.origin = origin
        self._tables = for_each_shard(_Table, [files[index] for index in split.used])
        counts = [table.num_rows for table in self._tables]
        if not sum(counts):
            raise DataError(f"`images` must be Parquet files with images, but {origin} has no rows")
        paths = list(itertools.chain.from_iterable(for_each_shard(_Table.paths, self._tables)))
        labels = [label for found in for_each_shard(_Table.labels, self._tables) for label in found]
        layout = layout_of(
            paths,
            left_aside,
            labels=labels if any(table.columns.label for table in self._tables) else None,
            held_out=None if split.held_out is None else np.repeat(split.held_out, counts).tolist(),
            split_origin=split.origin,
        )
        self._rows = layout.used
        self._table_of_image = np.repeat(np.arange(len(counts)), counts)[self._rows]
        self.names = tuple(
            f"{self._tables[table].name}/{paths[row]}"
            for table, row in zip(self._table_of_image, self._rows, strict=True)
        )
        self._take_layout(layout, left_aside)
        declared = _declared_classes(self._tables, labels)
        if declared is not None:
            self.classes, self.labels = declared[0], declared[1][self._rows]
        for table in self._tables:
            layout.remarks.update(table.remarks)
        groups = [(table, group) for table in self._tables for group in range(len(table.group_rows))]
        self._groups = [(table, group) for table, group in groups if table.group_rows[group]]
        rows = [table.group_rows[group] for table, group in self._groups]
        self._starts = [0, *itertools.accumulate(rows)]
        largest = max(table.group_bytes[group] for table, group in self._groups)
        self._window = max(2, min(_MAX_CACHED, _CACHED_BYTES // max(1, largest)))
        groups_of_rows = np.repeat(np.arange(len(rows)), rows)[self._rows]
        self.units = ReadingUnits(np.unique(groups_of_rows, return_inverse=True)[1], self._window)
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def path_of(self, index: int) -> str:
        return self.names[index][len(self._tables[self._table_of_image[index]].name) + 1 :]

    def read(self, index: int) -> bytes:
        row = int(self._rows[index])
        group = bisect.bisect_right(self._starts, row) - 1
        value = self._read_group(group)[row - self._starts[group]]
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
        self.name = file.name
        self.remarks: dict[str, str] = {}
        """What may be meant otherwise, each with a remedy."""
        self.columns = _find_columns(file, schema, self.remarks)
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

    def paths(self) -> list[str]:
        """Name each row within the file: by its path, if all differ, or by its number."""
        paths = self._read_all(self.columns.path) if self.columns.path else []
        usable = bool(paths) and None not in paths and len(set(paths)) == len(paths)
        return paths if usable else [f"{row:07d}" for row in range(self.num_rows)]

    def labels(self) -> list[str | None]:
        """Read the class of each row, as text; fractions are no classes."""
        if self.columns.label is None:
            return [None] * self.num_rows
        values = self._read_all(self.columns.label)
        fractions = (value for value in values if isinstance(value, float) and value % 1 and not math.isnan(value))
        if (fraction := next(fractions, None)) is not None:
            self.remarks["labels that are not read"] = (
                f"the column `{self.columns.label}` holds fractions such as {fraction}, which are no classes; store "
                "classes as whole numbers or names"
            )
            return [None] * self.num_rows
        return [label_name(value) for value in values]

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


def _find_columns(file: Shard, schema: Any, remarks: dict[str, str]) -> _Columns:
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
    named = [name for wanted in _LABEL_COLUMNS for name in schema.names if name.lower() == wanted]
    labels = labels or [name for name in named if _is_label(schema.field(name).type)]
    label = "label" if "label" in labels else next(iter(labels), None)
    if named and label is None:
        remarks["labels that are not read"] = (
            f"the column `{named[0]}` is of type {schema.field(named[0]).type}, which is no class; store whole numbers "
            "or names"
        )
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


def _is_label(kind: Any) -> bool:
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(is_text or types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _declared_classes(
    tables: Sequence[_Table], labels: Sequence[str | None]
) -> tuple[tuple[str, ...], np.ndarray] | None:
    """Return the classes that the files name, and each row's, int64 `(N,)`; None if they name none."""
    names = tables[0].columns.class_names
    if names is None:
        return None
    valid = {None, *map(str, range(len(names)))}
    if not valid.issuperset(labels) or any(table.columns.class_names != names for table in tables):
        raise DataError(f"labels must be numbers of the {len(names)} classes of the first file; make all files alike")
    return tuple(names), np.array([-1 if label is None else int(label) for label in labels], dtype=np.int64)
