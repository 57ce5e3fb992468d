"""Data sets of the Hugging Face Hub, read one range of bytes at a time, without a local copy.

The server (`HF_ENDPOINT`) and the user are settings of `huggingface_hub`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the HTTP client that it works with

from vqvae2.data.sources.layout import IMAGE_ENDINGS, layout_of
from vqvae2.data.sources.left_aside import LeftAside
from vqvae2.data.sources.shards import Shard, reason
from vqvae2.data.sources.source import ImageSource, require_image_bytes
from vqvae2.errors import DataError

__all__ = ["HUB_PREFIX", "HubFolder", "list_hub_files"]

HUB_PREFIX = "hub:"

_REPOSITORY = re.compile(rf"{HUB_PREFIX}([\w.-]+/[\w.-]+)(/[^@]+)?(?:@(.+))?")
_FAILURES = (OSError, ValueError, HTTPError)


class HubFolder(ImageSource):
    """A repository with image files, in the order of their names; split and classes are those of `layout_of`.

    Raises:
        DataError: If there are none.
    """

    def __init__(self, files: Sequence[Shard], *, origin: str, left_aside: LeftAside) -> None:
        if not files:
            raise DataError(
                f"`images` must be Parquet files, tar archives or images ({', '.join(IMAGE_ENDINGS)}), but {origin} "
                "has none; convert a data set that has a script of its own first"
            )
        self.origin = origin
        layout = layout_of([file.name for file in files], left_aside)
        self._files = [files[index] for index in layout.used]
        self.names = tuple(file.name for file in self._files)
        self._take_layout(layout, left_aside)

    def read(self, index: int) -> bytes:
        file = self._files[index]
        require_image_bytes(file.size)
        return file.read(0, file.size)


def list_hub_files(text: str) -> tuple[list[Shard], str]:
    """List the files of a data set, sorted by name.

    Args:
        text: `hub:OWNER/NAME`, optionally with `/FOLDER` and `@REVISION`.

    Returns:
        The files, and the text that opens the same files whatever changes later: its revision is a commit.

    Raises:
        DataError: If the text has another form, or the data set cannot be reached.
    """
    match = _REPOSITORY.fullmatch(text)
    if match is None:
        raise DataError(f"`images` must be hub:OWNER/NAME, optionally with /FOLDER and @REVISION, got {text}")
    repository, folder, revision = match.group(1), (match.group(2) or "").strip("/"), match.group(3)
    try:
        commit = HfApi().dataset_info(repository, revision=revision).sha
        system = HfFileSystem()
        root = f"datasets/{repository}@{commit}"
        found: Any = system.find(f"{root}/{folder}" if folder else root, detail=True)
    except _FAILURES as error:
        raise DataError(
            f"{text} cannot be reached ({reason(error)}); check its name, the network, and `hf auth login`"
        ) from error
    files = [
        Shard(system, path, path.removeprefix(f"{root}/").removeprefix(f"{folder}/"), int(entry["size"]), _FAILURES)
        for path, entry in sorted(found.items())
        if not any(part.startswith(".") for part in path.split("/"))
    ]
    return files, f"{HUB_PREFIX}{repository}{f'/{folder}' if folder else ''}@{commit}"
