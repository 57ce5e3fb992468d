"""Folders of image files, found by `datasets`."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import datasets
import numpy as np
from datasets.packaged_modules.imagefolder import imagefolder

from vqvae2.data.source import ImageRecord
from vqvae2.errors import DataError

__all__ = ["ImageFolder"]

_ENDINGS = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff")
_VALIDATION_FOLDERS = ("validation", "valid", "val", "test")


class ImageFolder:
    """A folder of images, in the order of their names.

    PNG, JPEG, WebP, GIF, BMP and TIFF files are found at any depth, whatever the case of their endings. All other
    files are passed over, and so are hidden ones, links to folders, and what lies in folders named `__...`. If every
    image lies in a sub-folder, the folder that holds an image is its class. If there are two folders `train` and
    `validation` (or `valid`, `val`, `test`), they are taken as the split, and only images in them are used.

    Args:
        path: The folder.

    Raises:
        DataError: If the path is not a folder, holds no images, or has names that are not UTF-8 or contain `::`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            kind = "is a file" if self.path.exists() else "does not exist"
            raise DataError(f"`images` must be a folder of images, but {self.path} {kind}")
        names = _find(self.path)
        if not names:
            contents = "holds no images" if any(self.path.iterdir()) else "is empty"
            raise DataError(
                f"`images` must be a folder with images ({', '.join(_ENDINGS)}), but {self.path} {contents}"
            )
        self.all_names = tuple(names)  # also those that a given split leaves out
        names, self.given_validation = _given_split(names)
        self.names = tuple(names)
        # Below the folders of a given split, classes are told by the same rule as without one.
        inner = [PurePosixPath(*PurePosixPath(name).parts[self.given_validation is not None :]) for name in names]
        labelled = all(len(name.parts) > 1 for name in inner)
        self.classes: tuple[str, ...] = tuple(sorted({name.parts[-2] for name in inner})) if labelled else ()
        index_of = {name: index for index, name in enumerate(self.classes)}
        self._labels = [index_of[name.parts[-2]] if labelled else None for name in inner]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ImageRecord:
        name = self.names[index]
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(f"the file cannot be read: {error.strerror}") from error
        return ImageRecord(name, self._labels[index], data)


def _find(path: Path) -> list[str]:
    # Without patterns of our own, `imagefolder` would take folders named train or test for splits, and drop all
    # labels beside a metadata file. Undecoded, a broken file is ours to handle. The builder is asked directly, since
    # `load_dataset` reports each use of it to a server.
    root = path.resolve()
    folder = glob.escape(root.as_posix())
    patterns = [f"{folder}/**/*.{''.join(f'[{c}{c.upper()}]' for c in ending)}" for ending in _ENDINGS]
    with tempfile.TemporaryDirectory() as cache, _without_progress_bars():
        try:
            builder = imagefolder.ImageFolder(cache_dir=cache, data_files={"train": patterns}, drop_labels=True)
            builder.download_and_prepare()
            found = builder.as_dataset(split="train")
        except ValueError as error:
            if "corresponds to no data" not in str(error):
                raise
            return []  # no file matches
        except (FileNotFoundError, datasets.exceptions.DatasetGenerationError) as error:
            raise DataError(
                f"{path} cannot be listed ({error.__cause__ or error}); names must be UTF-8 and without '::'"
            ) from error
        paths = [image["path"] for image in found.cast_column("image", datasets.Image(decode=False))["image"]]
    return sorted(Path(name).relative_to(root).as_posix() for name in paths)


def _given_split(names: list[str]) -> tuple[list[str], np.ndarray | None]:
    tops = {PurePosixPath(name).parts[0] for name in names if "/" in name}
    held_out = next((folder for folder in _VALIDATION_FOLDERS if folder in tops), None)
    if "train" not in tops or held_out is None:
        return names, None
    used = [name for name in names if name.split("/")[0] in ("train", held_out)]
    return used, np.array([name.startswith(f"{held_out}/") for name in used])


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    shown = datasets.are_progress_bars_disabled() is False
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
