"""Where images come from, before they are decoded."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from vqvae2.errors import DataError
from vqvae2.images import image_info

__all__ = ["ImageRecord", "ImageSource", "ImageSurvey", "survey_images"]


class ImageRecord(NamedTuple):
    """One image file."""

    name: str
    """Path within the source, with forward slashes."""
    label: int | None
    """Index into the source's classes."""
    data: bytes
    """The file as it is, still encoded."""


class ImageSource(Protocol):
    """A collection of image files in a fixed order."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each image."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty if there are none."""
        ...

    @property
    def given_validation(self) -> np.ndarray | None:
        """Which images the source itself holds out, bool `(N,)`; None if it does not say."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ImageRecord:
        """Read one image; a `DataError` makes it an image that is passed over."""
        ...


class ImageSurvey(NamedTuple):
    """What the images of a source are like, and so what a model of them should be."""

    short_side: int
    """Median of the shorter sides, in pixels."""
    channels: int
    """1 if all images are grey, else 3."""
    bit_depth: int
    """16 if all images are grey of 16 bits, else 8."""


def survey_images(source: ImageSource, *, sample: int = 64) -> ImageSurvey:
    """Look at some images of a source, evenly spread.

    Raises:
        DataError: If none of them can be read.
    """
    infos, reason = [], ""
    for index in np.unique(np.linspace(0, len(source) - 1, sample).astype(int)):
        try:
            infos.append(image_info(source[int(index)].data))
        except DataError as error:
            reason = f"{source.names[index]}: {error}"
    if not infos:
        raise DataError(f"none of the images that were tried can be read; the last was {reason}")
    return ImageSurvey(
        short_side=int(np.median([min(info.height, info.width) for info in infos])),
        channels=1 if all(info.is_grey for info in infos) else 3,
        bit_depth=min(info.bit_depth for info in infos),
    )
