"""The same images in every kind of source."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from vqvae2.images import encode_png


def png(number: int) -> bytes:
    """A small image that is like no other."""
    return encode_png(np.random.default_rng(number).integers(0, 256, (5 + number % 3, 6, 3), dtype=np.uint8))


@pytest.fixture
def make_png():
    return png


@pytest.fixture
def write_tar():
    """Write members, by name, into an archive."""

    def write(path: Path, members: dict[str, bytes], *, format: int = tarfile.PAX_FORMAT) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=format) as archive:
            for name, data in members.items():
                header = tarfile.TarInfo(name)
                header.size = len(data)
                archive.addfile(header, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def write_parquet():
    """Write images and labels as `datasets` does."""

    def write(
        path: Path,
        images: list[bytes | None],
        labels: list[int] | list[str | None] | None = None,
        *,
        classes: list[str] | None = None,
        paths: list[str] | None = None,
        row_group_size: int = 4,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        paths = paths or [None] * len(images)
        structs = [None if d is None else {"bytes": d, "path": p} for d, p in zip(images, paths, strict=True)]
        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        columns = {"image": pyarrow.array(structs, kind)}
        features = {"image": {"_type": "Image"}}
        if labels is not None:
            columns["label"] = pyarrow.array(labels)
            if classes is not None:
                features["label"] = {"names": classes, "_type": "ClassLabel"}
        note = {"huggingface": json.dumps({"info": {"features": features}})}
        table = pyarrow.table(columns).replace_schema_metadata(note)
        parquet.write_table(table, path, row_group_size=row_group_size)
        return path

    return write
