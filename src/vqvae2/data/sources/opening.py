"""Open a collection of images by a path, a pattern or a name."""

from __future__ import annotations

import os
from pathlib import Path

from vqvae2.data.sources.builtin import BuiltinImages
from vqvae2.data.sources.folder import ImageFolder
from vqvae2.data.sources.layout import is_image_name
from vqvae2.data.sources.left_aside import LeftAside
from vqvae2.data.sources.listing import find_pattern, is_written_by_us, kind_of_file, require_all_shards, walk_files
from vqvae2.data.sources.shards import Shard, local_shard
from vqvae2.data.sources.source import ImageSource
from vqvae2.data.sources.tar import TarShards
from vqvae2.errors import DataError

__all__ = ["open_images"]

_ENDINGS = (".parquet", ".tar")
_PATTERN_CHARACTERS = "*?[{"


def open_images(text: str | Path) -> ImageSource:
    """Open images where they are, without a copy.

    Args:
        text: One of

            - a folder of images, see `ImageFolder`;
            - a folder that holds Parquet files or tar archives, but no images; or one such file;
            - a pattern of such files: `train-*.tar`, `shards/{000..127}.tar`;
            - `hub:OWNER/NAME`, a data set of the Hugging Face Hub, optionally with `/FOLDER` and `@REVISION`;
            - `builtin:`, the set that comes with the package.

    Raises:
        DataError: If there are no images, a shard is missing or cut, or the data set cannot be reached.
    """
    text = str(text)
    if text == BuiltinImages.origin:
        return BuiltinImages()
    if text.startswith("hub:"):
        return _open_hub(text)
    path = Path(text)
    if path.is_dir():
        return _open_folder(path)
    is_shard = path.exists() and path.suffix.lower() in _ENDINGS
    is_pattern = not path.exists() and any(character in text for character in _PATTERN_CHARACTERS)
    if not is_shard and not is_pattern:
        return ImageFolder(path)  # which reports what is wrong with it
    found = [path] if is_shard else find_pattern(text)
    if any(file.suffix.lower() not in _ENDINGS for file in found):
        raise DataError(
            f"`images` must be Parquet files or tar archives where it is a pattern, but {text} finds "
            f"{', '.join(sorted(str(file) for file in found)[:3])}; give the folder of images"
        )
    above = Path(os.path.commonpath([file.parent.absolute() for file in found]))
    files = [local_shard(file, file.absolute().relative_to(above).as_posix()) for file in found]
    return _open_files(files, os.path.abspath(text), LeftAside())


def _open_folder(path: Path) -> ImageSource:
    if any(map(is_image_name, walk_files(path, leave_out=is_written_by_us))):
        return ImageFolder(path)
    left_aside, names = LeftAside(), []
    for name in walk_files(path, left_aside, leave_out=is_written_by_us):
        if name.lower().endswith(_ENDINGS):
            names.append(name)
        else:
            left_aside.add(kind_of_file(name), name)
    if not names:
        return ImageFolder(path)  # which finds images without an ending, or reports what is wrong
    require_all_shards(names)
    shards = [local_shard(path / name, name) for name in sorted(names)]
    return _open_files(shards, str(path.resolve()), left_aside)


def _open_hub(text: str) -> ImageSource:
    from vqvae2.data.sources.hub import HubFolder, list_hub_files

    files, origin = list_hub_files(text)
    for ending in (*_ENDINGS, ""):  # images beside shards belong to the data set's card
        left_aside, used = LeftAside(), []
        for file in files:
            if file.name.lower().endswith(ending) if ending else is_image_name(file.name):
                used.append(file)
            else:
                left_aside.add(kind_of_file(file.name), file.name)
        if used and ending:
            require_all_shards([file.name for file in used])
            return _open_files(used, origin, left_aside)
    return HubFolder(used, origin=origin, left_aside=left_aside)


def _open_files(files: list[Shard], origin: str, left_aside: LeftAside) -> ImageSource:
    endings = {file.name.rpartition(".")[2].lower() for file in files}
    if len(endings) > 1:
        raise DataError(
            f"`images` must be Parquet files or tar archives, but {origin} holds both; give a pattern such as '*.tar'"
        )
    if endings == {"tar"}:
        return TarShards(files, origin=origin, left_aside=left_aside)
    from vqvae2.data.sources.parquet import ParquetImages

    return ParquetImages(files, origin=origin, left_aside=left_aside)
