"""Where images come from, before they are decoded.

Shapes: N images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np

from vqvae2.data.sources.layout import Layout
from vqvae2.data.sources.left_aside import LeftAside
from vqvae2.errors import DataError
from vqvae2.images import image_info

__all__ = [
    "MAX_IMAGE_BYTES",
    "ImageSource",
    "ImageSurvey",
    "ReadingUnits",
    "ShardError",
    "require_image_bytes",
    "survey_images",
]

MAX_IMAGE_BYTES = 2**28
"""A larger image file is skipped, since it would have to be held in memory."""

_SURVEYED_UNITS = 8

_Decoded = TypeVar("_Decoded")


class ShardError(DataError):
    """A file that holds many images is missing, cut or changed, so none of its images may be skipped silently."""


class ReadingUnits(NamedTuple):
    """Which images are best read together."""

    numbers: np.ndarray
    """int64 `(N,)`: the unit of each image, from 0; images of one unit are neighbours."""
    window: int
    """How many units the source can hold at a time."""


class ImageSource(ABC):
    """A collection of image files in a fixed order, each of which any thread can read at any time."""

    origin: str
    """What `open_images` opens this source by."""
    names: tuple[str, ...]
    """Paths within the source, with forward slashes."""
    labels: np.ndarray
    """Class index of each image, int64 `(N,)`, -1 where it has none; known without reading the images."""
    classes: tuple[str, ...]
    """Names of the classes; empty if there are none."""
    given_validation: np.ndarray | None = None
    """Which images the source itself holds out, bool `(N,)`; None if it does not say."""
    split_origin: str = ""
    """What says which images these are, in words."""
    left_aside: Mapping[str, str] = MappingProxyType({})
    """What lies beside the images and is not used: by the kind of file, how many, and an example."""
    remarks: Mapping[str, str] = MappingProxyType({})
    """What was decided but may be meant otherwise, each with a remedy."""
    units: ReadingUnits | None = None
    """Which images are best read together; None if any order is as good."""

    def __len__(self) -> int:
        return len(self.names)

    def path_of(self, index: int) -> str:
        """Return the path of an image within the folder or the archive that holds it."""
        return self.names[index]

    def _take_layout(self, layout: Layout, left_aside: LeftAside) -> None:
        """Take over what a layout says."""
        self.classes, self.labels, self.given_validation = layout.classes, layout.labels, layout.given_validation
        self.split_origin, self.remarks, self.left_aside = layout.split_origin, layout.remarks, left_aside.to_dict()

    @abstractmethod
    def read(self, index: int) -> bytes:
        """Read one image file as it is, still encoded.

        Raises:
            ShardError: If a file that holds many images can no longer be read.
            DataError: If only this image cannot be read; it can be skipped.
        """

    def try_read(self, index: int, decode: Callable[[bytes], _Decoded]) -> _Decoded | DataError:
        """Read and decode one image; return the error if only this image cannot be read."""
        try:
            return decode(self.read(index))
        except ShardError:
            raise
        except DataError as error:
            return error


class ImageSurvey(NamedTuple):
    """What the images of a source are like, and so what a model of them should be."""

    short_side: int
    """Median of the shorter sides, in pixels."""
    channels: int
    """1 if all images are grey, else 3."""
    bit_depth: int
    """16 if all images are grey of 16 bits, else 8."""


def require_image_bytes(size: int) -> None:
    """Refuse to read an image file of more than `MAX_IMAGE_BYTES`, with a `DataError`."""
    if size > MAX_IMAGE_BYTES:
        raise DataError(f"the file has {size} bytes, and at most {MAX_IMAGE_BYTES} are read")


def survey_images(source: ImageSource, *, sample: int = 64) -> ImageSurvey:
    """Look at some images of a source, evenly spread.

    Raises:
        DataError: If none of them can be read.
    """
    infos, reason = [], ""
    for index in _spread(source, sample):
        info = source.try_read(int(index), image_info)
        if isinstance(info, DataError):
            reason = f"{source.names[index]}: {info}"
        else:
            infos.append(info)
    if not infos:
        raise DataError(f"none of the sampled images can be read; the last was {reason}")
    return ImageSurvey(
        short_side=int(np.median([min(info.height, info.width) for info in infos])),
        channels=1 if all(info.is_grey for info in infos) else 3,
        bit_depth=min(info.bit_depth for info in infos),
    )


def _spread(source: ImageSource, sample: int) -> np.ndarray:
    """Choose some images from the first to the last; where there are units, a few images of a few units."""
    if source.units is None:
        return np.unique(np.linspace(0, len(source) - 1, sample).astype(int))
    numbers = source.units.numbers
    chosen = np.unique(np.linspace(0, numbers[-1], _SURVEYED_UNITS).astype(int))
    members = [np.flatnonzero(numbers == unit) for unit in chosen]
    each = -(-sample // len(chosen))
    return np.concatenate([unit[np.linspace(0, len(unit) - 1, min(each, len(unit))).astype(int)] for unit in members])
