"""Where images come from, before they are decoded."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from vqvae2.errors import DataError
from vqvae2.images import image_info

__all__ = ["ImageRecord", "ImageSource", "suggest_size_and_channels"]


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


def suggest_size_and_channels(source: ImageSource, *, sample: int = 64) -> tuple[int, int]:
    """Look at some images, evenly spread.

    Returns:
        The median shorter side in pixels, and 1 if all are grey, else 3.

    Raises:
        DataError: If none of them can be read.
    """
    short_sides, all_grey, reason = [], True, ""
    for index in np.unique(np.linspace(0, len(source) - 1, sample).astype(int)):
        try:
            info = image_info(source[int(index)].data)
        except DataError as error:
            reason = f"{source.names[index]}: {error}"
            continue
        short_sides.append(min(info.height, info.width))
        all_grey &= info.is_grey
    if not short_sides:
        raise DataError(f"none of the images that were tried can be read; the last was {reason}")
    return int(np.median(short_sides)), 1 if all_grey else 3
