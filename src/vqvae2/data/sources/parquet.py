"""Images in Parquet files, as `datasets` and the Hugging Face Hub keep them."""

from __future__ import annotations

import bisect
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from pyarrow import parquet

from vqvae2.data.sources.layout import split_of_files
from vqvae2.data.sources.shards import ByteFile, SeekableFile, for_each_file
from vqvae2.data.sources.source import ImageRecord, ReadingUnits, ShardError, require_image_bytes
from vqvae2.errors import DataError

__all__ = ["MAX_ROW_GROUP_BYTES", "ParquetImages"]

MAX_ROW_GROUP_BYTES = 2**29
"""Of a row group's images, unpacked: it is read as a whole. `datasets` writes some ten million bytes."""

_MOST_GROUP_ROWS = 2**20  # equal rows take no room in a file, but each has a name here
_ROWS_AT_A_TIME = 2**16
_HELD_BYTES = 2**29  # of row groups that are held; then another one is read, after which the oldest go
_MOST_HELD = 256
_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "picture")
_LABEL_COLUMNS = ("label", "labels", "cls", "class", "fine_label")


class ParquetImages:
    """Images in one or more Parquet files, in the order of the files and their rows. An `ImageSource`.

    The column of images holds bytes, or bytes and paths. Column, label and names of classes are those that `datasets`
    notes in the files, or else a column named `image` and one named `label`, of numbers or names. Files named `train`
    and `validation` (or `valid`, `val`, `test`) are the split. The row groups that were asked for last are held.

    Args:
        files: The files.
        origin: What `open_images` opened them by.

    Raises:
        ShardError: If a file is missing, damaged or cut.
        DataError: If there are no images, or a row group is larger than `MAX_ROW_GROUP_BYTES`.
    """

    def __init__(self, files: Sequence[ByteFile], *, origin: str) -> None:
        used, given = split_of_files([file.name for file in files])
        self.origin = origin
        self._tables = for_each_file(_Table, [files[index] for index in used])
        counts = [table.num_rows for table in self._tables]
        if not sum(counts):
            raise DataError(f"`images` must be Parquet files with images, but {origin} has no rows")
        self.names = tuple(itertools.chain.from_iterable(for_each_file(_Table.names, self._tables)))
        self.classes, self.labels = _classes_of(self._tables)
        self.given_validation = None if given is None else np.repeat(given, counts)
        groups = [(table, group) for table in self._tables for group in range(len(table.group_rows))]
        rows = [table.group_rows[group] for table, group in groups]
        self._groups = [entry for entry, count in zip(groups, rows, strict=True) if count]
        rows = [count for count in rows if count]
        self._starts = [0, *itertools.accumulate(rows)]
        largest = max(table.group_bytes[group] for table, group in self._groups)
        window = max(2, min(_MOST_HELD, _HELD_BYTES // max(1, largest)))
        self.units = ReadingUnits(np.repeat(np.arange(len(rows)), rows), window)
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ImageRecord:
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be in 0..{len(self) - 1}, got {index}")
        group = bisect.bisect_right(self._starts, index) - 1
        value = self._read_group(group)[index - self._starts[group]]
        if not value.is_valid:
            raise DataError("the row holds no image")
        data = value.as_buffer()
        require_image_bytes(data.size)
        label = int(self.labels[index])
        return ImageRecord(self.names[index], None if label < 0 else label, data.to_pybytes())

    def _read_group(self, group: int) -> Any:
        with self._lock:  # or several threads would read the same group
            if group in self._held:
                self._held.move_to_end(group)
            else:
                table, number = self._groups[group]
                while self._held and (len(self._held) >= self.units.window or self._held_bytes > _HELD_BYTES):
                    _, images = self._held.popitem(last=False)
                    self._held_bytes -= images.nbytes
                self._held[group] = table.read_images(number)
                self._held_bytes += self._held[group].nbytes
            return self._held[group]


class _Columns(NamedTuple):
    """Which columns are read, as paths in the file."""

    image: str
    path: str | None
    label: str | None
    class_names: list[str] | None


class _Table:
    """One file: what its footer says, and its columns as they are asked for."""

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        with _naming(file):
            opened = parquet.ParquetFile(SeekableFile(file))
            self._metadata, schema = opened.metadata, opened.schema_arrow
        self.columns = _find_columns(file, schema)
        self.num_rows: int = self._metadata.num_rows
        self._leaves = {self._metadata.schema.column(i).path: i for i in range(self._metadata.num_columns)}
        groups = [self._metadata.row_group(number) for number in range(self._metadata.num_row_groups)]
        self.group_rows = [int(group.num_rows) for group in groups]
        if min(self.group_rows, default=0) < 0 or sum(self.group_rows) != self.num_rows:
            raise ShardError(f"{file.place} is damaged: its row groups do not add up; fetch it again")
        if max(self.group_rows, default=0) > _MOST_GROUP_ROWS:
            raise DataError(
                f"{file.place} has {max(self.group_rows)} rows in a row group, and at most {_MOST_GROUP_ROWS} are "
                "read; write it with smaller row groups"
            )
        self.group_bytes = [0] * len(groups)
        for path in filter(None, (self.columns.image, self.columns.path, self.columns.label)):
            for number, group in enumerate(groups):
                column = group.column(self._leaves[path])
                size = max(column.total_uncompressed_size, column.total_compressed_size)
                if not 0 <= size <= MAX_ROW_GROUP_BYTES:
                    raise DataError(
                        f"{file.place} has {size} bytes of `{path}` in row group {number}, and at most "
                        f"{MAX_ROW_GROUP_BYTES} are read; write it with smaller row groups"
                    )
                if path == self.columns.image:
                    self.group_bytes[number] = size

    def names(self) -> Iterator[str]:
        """Name each row by its path, if all differ, or by its number."""
        paths: list[str | None] = []
        if self.columns.path is not None:
            paths = self._read(self.columns.path, None).to_pylist()
        usable = bool(paths) and None not in paths and len(set(paths)) == len(paths)
        return (f"{self._file.name}/{paths[row] if usable else f'{row:07d}'}" for row in range(self.num_rows))

    def labels(self) -> list[int | str | None]:
        if self.columns.label is None:
            return [None] * self.num_rows
        found: list[int | str | None] = self._read(self.columns.label, None).to_pylist()
        return found

    def read_images(self, group: int) -> Any:
        """Read the images of a row group, as an Arrow array of bytes."""
        return self._read(self.columns.image, group)

    def _read(self, path: str, group: int | None) -> Any:
        """Read one column, of a row group or of all, and not more than a row group may hold at a time."""
        groups = range(len(self.group_rows)) if group is None else [group]
        parts: list[Any] = []
        with _naming(self._file):
            opened = parquet.ParquetFile(SeekableFile(self._file), metadata=self._metadata)
            for number in groups:
                parts.extend(self._read_group(opened, path, number))
        column = pyarrow.chunked_array(parts) if parts else []
        expected = self.num_rows if group is None else self.group_rows[group]
        if len(column) != expected:
            raise ShardError(f"{self._file.place} is damaged: {len(column)} rows of {expected}; fetch it again")
        return column

    def _read_group(self, opened: Any, path: str, group: int) -> Iterator[Any]:
        # Equal values may stand in the file once, and so become far more than they were there: the rows of a batch are
        # so few that it stays below the limit even if each is as large as all that is in the file.
        stored = max(1, self._metadata.row_group(group).column(self._leaves[path]).total_uncompressed_size)
        rows, total = max(1, MAX_ROW_GROUP_BYTES // stored), 0
        for batch in opened.iter_batches(batch_size=min(rows, _ROWS_AT_A_TIME), row_groups=[group], columns=[path]):
            total += batch.nbytes
            if total > MAX_ROW_GROUP_BYTES:
                raise ShardError(
                    f"{self._file.place} has more than {MAX_ROW_GROUP_BYTES} bytes of `{path}` in row group {group}, "
                    "which are more than it says; write it with smaller row groups"
                )
            column = batch.column(0)
            yield column.flatten()[0] if pyarrow.types.is_struct(column.type) else column  # the field that was read


@contextmanager
def _naming(file: ByteFile) -> Iterator[None]:
    """Name the file in what Arrow complains of."""
    try:
        yield
    except ShardError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ShardError(f"{file.place} is cut, damaged, or no Parquet file ({reason}); fetch it again") from error


def _find_columns(file: ByteFile, schema: Any) -> _Columns:
    features = _features_of(schema)
    images = [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]
    images = images or [name for name in _IMAGE_COLUMNS if name in schema.names and _image_path(schema, name)]
    images = images or [name for name in schema.names if _image_path(schema, name)]
    path = _image_path(schema, images[0]) if images else None
    if path is None:
        raise DataError(
            f"{file.place} must have a column of images, bytes or a struct with `bytes`, "
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
    """What `datasets` notes of each column; nothing if the file is of others."""
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
    return any(
        test(kind) for test in (pyarrow.types.is_integer, pyarrow.types.is_string, pyarrow.types.is_large_string)
    )


def _classes_of(tables: Sequence[_Table]) -> tuple[tuple[str, ...], np.ndarray]:
    names = tables[0].columns.class_names
    found = [label for labels in for_each_file(_Table.labels, tables) for label in labels]
    if names is not None:
        wrong = next((v for v in found if v is not None and not (isinstance(v, int) and -1 <= v < len(names))), None)
        if wrong is not None or any(table.columns.class_names != names for table in tables):
            raise DataError(f"all labels must be numbers of the {len(names)} classes of the first file, but are not")
        return tuple(names), np.array([-1 if label is None else label for label in found], dtype=np.int64)
    distinct = {label for label in found if label is not None and label != -1}
    ordered = sorted(distinct, key=lambda label: (isinstance(label, str), label))
    index_of = {label: index for index, label in enumerate(ordered)}
    labels = [-1 if label is None else index_of.get(label, -1) for label in found]
    return tuple(map(str, ordered)), np.array(labels, dtype=np.int64)
