"""The built-in set: 1,854 of Microsoft's Fluent emoji (3D style, MIT), 64x64 pixels, in nine classes."""

from __future__ import annotations

import io
import zipfile
from importlib import resources

import numpy as np

from vqvae2.data.sources.source import ImageRecord

__all__ = ["BUILTIN_GROUP_PATTERN", "BuiltinImages"]

BUILTIN_GROUP_PATTERN = "/([0-9a-f]+)[^/]*$"
"""Variants of one emoji begin with the same code point, and are near duplicates."""


class BuiltinImages:
    """The set that is part of the package; see `emoji64/README.md` in it for its origin. An `ImageSource`."""

    origin = "builtin:"
    given_validation = None
    units = None

    def __init__(self) -> None:
        archive = resources.files("vqvae2.data") / "emoji64" / "images.zip"
        self._archive = zipfile.ZipFile(io.BytesIO(archive.read_bytes()))
        self.names = tuple(sorted(self._archive.namelist()))
        self.classes = tuple(sorted({name.split("/")[0] for name in self.names}))
        self.labels = np.array([self.classes.index(name.split("/")[0]) for name in self.names])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ImageRecord:
        name = self.names[index]
        return ImageRecord(name, int(self.labels[index]), self._archive.read(name))
