"""Data sets of the Hugging Face Hub, read a range of bytes at a time, without a local copy."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

from vqvae2.data.sources.layout import IMAGE_ENDINGS, layout_of
from vqvae2.data.sources.shards import ByteFile
from vqvae2.data.sources.source import ImageRecord, ShardError, require_image_bytes
from vqvae2.errors import DataError

__all__ = ["HUB_PREFIX", "HubFile", "HubFolder", "list_hub_files"]

HUB_PREFIX = "hub:"

_REPOSITORY = re.compile(rf"{HUB_PREFIX}([\w.-]+/[\w.-]+)(/[^@]+)?(?:@(.+))?")
# What the library's HTTP client raises is no `OSError` in all of its versions, but has one base there.
_FAILURES: tuple[type[Exception], ...] = (OSError, ValueError, *HfHubHTTPError.__bases__)


class HubFile:
    """A `ByteFile` of a repository; each reading is a request for a range."""

    look_ahead = 2**20

    def __init__(self, system: HfFileSystem, path: str, name: str, size: int) -> None:
        self._system, self.place, self.name, self.size = system, path, name, size

    def read(self, offset: int, length: int) -> bytes:
        if length == 0:
            return b""
        try:
            data = self._system.cat_file(self.place, start=offset, end=offset + length, cache_type="none")
        except _FAILURES as error:
            raise ShardError(f"{self.place} cannot be read ({_reason(error)}); the same command goes on") from error
        if len(data) != length:
            raise ShardError(
                f"{self.place} gave {len(data)} bytes of {length} at {offset}; is it cut, or the server old?"
            )
        return bytes(data)


class HubFolder:
    """A repository with image files, in the order of their names. An `ImageSource`.

    Args:
        files: The images; split and classes are those of `layout_of`.
        origin: What `open_images` opens them by.

    Raises:
        DataError: If there are none.
    """

    units = None

    def __init__(self, files: Sequence[ByteFile], *, origin: str) -> None:
        if not files:
            raise DataError(
                f"`images` must be Parquet files, tar archives or images ({', '.join(IMAGE_ENDINGS)}), but {origin} "
                "has none; a data set with a script of its own has to be converted first"
            )
        self.origin = origin
        layout = layout_of([file.name for file in files])
        self._files = [files[index] for index in layout.used]
        self.names = tuple(file.name for file in self._files)
        self.classes, self.given_validation, self.labels = layout.classes, layout.given_validation, layout.labels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ImageRecord:
        file, label = self._files[index], int(self.labels[index])
        require_image_bytes(file.size)
        return ImageRecord(file.name, None if label < 0 else label, file.read(0, file.size))


def list_hub_files(text: str) -> tuple[list[ByteFile], str]:
    """List the files of a data set, sorted by name.

    The server is the one that the environment variable HF_ENDPOINT names, or the Hub.

    Args:
        text: `hub:OWNER/NAME`, with `/FOLDER` for a part of it, and `@REVISION`.

    Returns:
        The files, and the text that gives the very same files whatever is changed later: its revision is a commit.

    Raises:
        DataError: If the text is none of these, or the data set cannot be reached.
    """
    match = _REPOSITORY.fullmatch(text)
    if match is None:
        raise DataError(f"`images` must be hub:OWNER/NAME, with /FOLDER and @REVISION if need be, got {text}")
    repository, folder, revision = match.group(1), (match.group(2) or "").strip("/"), match.group(3)
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        commit = HfApi(endpoint=endpoint).dataset_info(repository, revision=revision).sha
        system = HfFileSystem(endpoint=endpoint)
        root = f"datasets/{repository}@{commit}"
        found: Any = system.find(f"{root}/{folder}" if folder else root, detail=True)
    except _FAILURES as error:
        raise DataError(
            f"{text} cannot be reached ({_reason(error)}); check its name, the network, and `hf auth login`"
        ) from error
    files: list[ByteFile] = [
        HubFile(system, path, path.removeprefix(f"{root}/").removeprefix(f"{folder}/"), int(entry["size"]))
        for path, entry in sorted(found.items())
        if not any(part.startswith(".") for part in path.split("/"))
    ]
    return files, f"{HUB_PREFIX}{repository}{f'/{folder}' if folder else ''}@{commit}"


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
