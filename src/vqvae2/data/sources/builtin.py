"""The built-in set: 4,044 drawn heads of seven styles, 64x64 pixels, in 25 classes of style and hair."""

from __future__ import annotations

import io
import zipfile
from importlib import resources

import numpy as np

from vqvae2.data.sources.source import ImageSource

__all__ = ["BuiltinImages"]


class BuiltinImages(ImageSource):
    """The set that comes with the package; `heads64/LICENSE` beside it names its artists."""

    origin = "builtin:"

    def __init__(self) -> None:
        archive = resources.files("vqvae2.data") / "heads64" / "images.zip"
        self._archive = zipfile.ZipFile(io.BytesIO(archive.read_bytes()))
        self.names = tuple(sorted(self._archive.namelist()))
        self.classes = tuple(sorted({name.split("/")[0] for name in self.names}))
        self.labels = np.array([self.classes.index(name.split("/")[0]) for name in self.names])

    def read(self, index: int) -> bytes:
        return self._archive.read(self.names[index])
