"""Folders of image files."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from vqvae2.data.sources.layout import IMAGE_ENDINGS, is_image_name, layout_of
from vqvae2.data.sources.listing import walk_files
from vqvae2.data.sources.source import ImageRecord, require_image_bytes
from vqvae2.errors import DataError

__all__ = ["ImageFolder"]

_IMAGENET_LABELS = "LOC_val_solution.csv"  # of the Kaggle archive: ImageId, then the class and boxes of each object


class ImageFolder:
    """A folder of images, in the order of their names. An `ImageSource`.

    PNG, JPEG, WebP, GIF, BMP and TIFF files are found at any depth, whatever the case of their endings. All other
    files are passed over, see `walk_files`. Split and classes are those of `layout_of`. ImageNet is read as it comes:
    its held-out images have the classes of `LOC_val_solution.csv` if that lies in the folder, and else none.

    Args:
        path: The folder.

    Raises:
        DataError: If the path is not a folder, holds no images, or has names that are not UTF-8.
    """

    units = None

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
        self.all_names = tuple(names)  # also those that a given split leaves out
        layout = layout_of(names)
        self.names = tuple(names[index] for index in layout.used)
        self.classes, self.given_validation, self.labels = layout.classes, layout.given_validation, layout.labels
        if self.given_validation is not None and self.classes and (self.labels[self.given_validation] == -1).all():
            self._add_imagenet_labels()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ImageRecord:
        name, label = self.names[index], int(self.labels[index])
        try:
            with (self.path / name).open("rb") as file:
                require_image_bytes(os.fstat(file.fileno()).st_size)
                data = file.read()
        except OSError as error:
            raise DataError(f"the file cannot be read: {error.strerror}") from error
        return ImageRecord(name, None if label < 0 else label, data)

    def _add_imagenet_labels(self) -> None:
        path = self.path / _IMAGENET_LABELS
        if not path.is_file():
            return
        index_of = {name: index for index, name in enumerate(self.classes)}
        try:
            with path.open(newline="") as file:
                class_of = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
        except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, csv.Error) as error:
            raise DataError(
                f"{path} must list an `ImageId` and a `PredictionString` a line; fetch it again, or delete it"
            ) from error
        assert self.given_validation is not None
        for place in np.flatnonzero(self.given_validation):
            self.labels[place] = index_of.get(class_of.get(Path(self.names[place]).stem, ""), -1)
