"""Folders of image files."""

from __future__ import annotations

import csv
import os
from pathlib import Path, PurePosixPath

import numpy as np

from vqvae2.data.sources.layout import IMAGE_ENDINGS, layout_of
from vqvae2.data.sources.listing import find_images
from vqvae2.data.sources.source import ImageSource, require_image_bytes
from vqvae2.errors import DataError

__all__ = ["ImageFolder"]

_IMAGENET_LABELS = "LOC_val_solution.csv"  # of the Kaggle archive: ImageId, then the class and boxes of each object
_TINY_LABELS = "val_annotations.txt"  # of Tiny ImageNet: file, class and box, with tabs between


class ImageFolder(ImageSource):
    """A folder of images, in the order of their names.

    PNG, JPEG, WebP, GIF, BMP and TIFF files are found at any depth, whatever the case of their endings, see
    `find_images`. Split and classes are those of `layout_of`. ImageNet and Tiny ImageNet are read as they come: if
    `LOC_val_solution.csv` lies in the folder, or `val_annotations.txt` in that of the held-out images, these get their
    classes from it.

    Raises:
        DataError: If the path is not a folder, holds no images, or has names that are not UTF-8.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            kind = "is a file" if self.path.exists() else "does not exist"
            raise DataError(f"`images` must be a folder of images, but {self.path} {kind}")
        names, left_aside = find_images(self.path)
        if not names:
            contents = "holds no images" if any(self.path.iterdir()) else "is empty"
            found = "".join(f"; left aside: {kind}: {text}" for kind, text in left_aside.to_dict().items())
            raise DataError(
                f"`images` must be a folder with images ({', '.join(IMAGE_ENDINGS)}), but {self.path} {contents}{found}"
            )
        self.origin = str(self.path.resolve())
        self.all_names = tuple(names)
        """Includes images that a given split does not use."""
        layout = layout_of(names, left_aside)
        self.names = tuple(names[index] for index in layout.used)
        self._take_layout(layout, left_aside)
        shards = [kind for kind in self.left_aside if kind in (".tar files", ".parquet files")]
        if shards:
            layout.remarks["archives beside images"] = (
                f"{' and '.join(shards)} beside the images are not read; give a pattern such as '*.tar' to read them"
            )
        if self.given_validation is not None and self.classes and (self.labels[self.given_validation] == -1).all():
            self._add_held_out_labels(self.given_validation)

    def read(self, index: int) -> bytes:
        try:
            with (self.path / self.names[index]).open("rb") as file:
                require_image_bytes(os.fstat(file.fileno()).st_size)
                return file.read()
        except OSError as error:
            raise DataError(f"the file cannot be read: {error.strerror}") from error

    def _add_held_out_labels(self, is_validation: np.ndarray) -> None:
        """Read the classes of held-out images from the file that ImageNet or Tiny ImageNet keeps them in."""
        held_out = np.flatnonzero(is_validation)
        folders = PurePosixPath(self.names[held_out[0]]).parents
        tiny = next((path for folder in folders if (path := self.path / folder / _TINY_LABELS).is_file()), None)
        if (self.path / _IMAGENET_LABELS).is_file():
            class_of = _read_imagenet_labels(self.path / _IMAGENET_LABELS)
        elif tiny is not None:
            class_of = _read_tiny_labels(tiny)
        else:
            return
        index_of = {name: index for index, name in enumerate(self.classes)}
        for place in held_out:
            self.labels[place] = index_of.get(class_of.get(Path(self.names[place]).stem, ""), -1)


def _read_imagenet_labels(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="") as file:
            return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, csv.Error) as error:
        raise DataError(
            f"{path} must list an `ImageId` and a `PredictionString` per line; fetch it again, or delete it"
        ) from error


def _read_tiny_labels(path: Path) -> dict[str, str]:
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        return {Path(row[0]).stem: row[1] for row in rows}
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} must list a file and a class per line, with a tab between; fetch it again, or delete it"
        ) from error
