"""The codes of a set of images on the way to their store: parts that are files of their own.

A part is written once, whole, by whichever process has it, on a file system that all of them see; so an extraction goes
on where it was stopped, and comes to the same store however many processes take part.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqvae2.codes import Codes
from vqvae2.system.atomic import atomic_write_bytes
from vqvae2.system.json_files import read_json

__all__ = ["CodeParts"]


class CodeParts:
    """A folder of parts. What it holds of another extraction is removed.

    Args:
        directory: The folder.
        num_images: Of the set.
        part_size: Images a part; the last may have fewer.
        identity: Plain values that tell this extraction from others.
    """

    def __init__(self, directory: Path, *, num_images: int, part_size: int, identity: dict[str, Any]) -> None:
        self._directory = directory
        self._num_images, self._part_size = num_images, part_size
        self._identity = json.loads(json.dumps(identity | {"num_images": num_images, "part_size": part_size}))

    def begin(self) -> list[int]:
        """Make the folder, if it is not there, and list the parts that are still to be written."""
        record = self._directory / "parts.json"
        try:
            is_same = read_json(record) == self._identity
        except (OSError, ValueError):
            is_same = False
        if not is_same:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(parents=True)
            atomic_write_bytes(record, json.dumps(self._identity).encode())
        count = -(-self._num_images // self._part_size)
        return [part for part in range(count) if not _is_whole(self._path(part))]

    def rows(self, part: int) -> range:
        """Numbers of the images of a part."""
        start = part * self._part_size
        return range(start, min(start + self._part_size, self._num_images))

    def write(self, part: int, codes: Codes, flipped: Codes | None) -> None:
        """Write the codes of a part's images, and of the mirrored images where these are wanted."""
        arrays: dict[str, Any] = {f"codes{level}": grid.numpy().astype(np.uint16) for level, grid in enumerate(codes)}
        if flipped is not None:
            arrays |= {f"flipped{level}": grid.numpy().astype(np.uint16) for level, grid in enumerate(flipped)}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        atomic_write_bytes(self._path(part), buffer.getvalue())

    def read(self, part: int) -> tuple[Codes, Codes | None]:
        """Read what `write` was given."""
        with np.load(self._path(part), allow_pickle=False) as arrays:
            maps = {name: torch.from_numpy(arrays[name].astype(np.int64)) for name in arrays.files}
        codes, flipped = (
            tuple(maps[name] for name in sorted(maps) if name.startswith(kind)) for kind in ("codes", "flipped")
        )
        return Codes(codes), Codes(flipped) if flipped else None

    def remove(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self._directory)

    def _path(self, part: int) -> Path:
        return self._directory / f"{part:06d}.npz"


def _is_whole(path: Path) -> bool:
    """Whether a part is there, with right checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False
