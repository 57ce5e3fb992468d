"""Folders of image files."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from vqvae2.data.sources.layout import IMAGE_ENDINGS, is_image_name, layout_of
from vqvae2.data.sources.listing import walk_files
from vqvae2.data.sources.source import ImageSource, require_image_bytes
from vqvae2.errors import DataError

__all__ = ["ImageFolder"]

_IMAGENET_LABELS = "LOC_val_solution.csv"  # of the Kaggle archive: ImageId, then the class and boxes of each object


class ImageFolder(ImageSource):
    """A folder of images, in the order of their names.

    PNG, JPEG, WebP, GIF, BMP and TIFF files are found at any depth, whatever the case of their endings; `walk_files`
    says what it leaves out. Split and classes are those of `layout_of`. ImageNet is read as it comes: if
    `LOC_val_solution.csv` lies in the folder, its held-out images get their classes from it.

    Raises:
        DataError: If the path is not a folder, holds no images, or has names that are not UTF-8.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            kind = "is a file" if self.path.exists() else "does not exist"
            raise DataError(f"`images` must be a folder of images, but {self.path} {kind}")
        names = sorted(name for name in walk_files(self.path) if is_image_name(name))
        if not names:
            contents = "holds no images" if any(self.path.iterdir()) else "is empty"
            raise DataError(
                f"`images` must be a folder with images ({', '.join(IMAGE_ENDINGS)}), but {self.path} {contents}"
            )
        self.origin = str(self.path.resolve())
        self.all_names = tuple(names)
        """Includes images that a given split does not use."""
        layout = layout_of(names)
        self.names = tuple(names[index] for index in layout.used)
        self.classes, self.given_validation, self.labels = layout.classes, layout.given_validation, layout.labels
        if self.given_validation is not None and self.classes and (self.labels[self.given_validation] == -1).all():
            self._add_imagenet_labels(self.given_validation)

    def read(self, index: int) -> bytes:
        try:
            with (self.path / self.names[index]).open("rb") as file:
                require_image_bytes(os.fstat(file.fileno()).st_size)
                return file.read()
        except OSError as error:
            raise DataError(f"the file cannot be read: {error.strerror}") from error

    def _add_imagenet_labels(self, is_validation: np.ndarray) -> None:
        path = self.path / _IMAGENET_LABELS
        if not path.is_file():
            return
        index_of = {name: index for index, name in enumerate(self.classes)}
        try:
            with path.open(newline="") as file:
                class_of = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
        except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, csv.Error) as error:
            raise DataError(
                f"{path} must list an `ImageId` and a `PredictionString` per line; fetch it again, or delete it"
            ) from error
        for place in np.flatnonzero(is_validation):
            self.labels[place] = index_of.get(class_of.get(Path(self.names[place]).stem, ""), -1)
