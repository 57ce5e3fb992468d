"""Images in tar archives, as `webdataset` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vqvae2.data.sources.layout import IMAGE_ENDINGS, classes_of, is_image_name, layout_of, split_of_files
from vqvae2.data.sources.shards import Read, Shard, for_each_shard
from vqvae2.data.sources.source import ImageSource, ReadingUnits, ShardError, require_image_bytes
from vqvae2.data.sources.tar_headers import TarMember, scan_tar
from vqvae2.errors import DataError

__all__ = ["TarShards"]

_IMAGES_PER_UNIT = 256  # read one after the other, which disks and networks serve fast
_WINDOW = 16
_MAX_LABEL_BYTES = 2**16
_LABEL_KEYS = ("cls", "label")


class TarShards(ImageSource):
    """Images in one or more tar archives, in the order of the archives and of what lies in them.

    Opening scans the headers of each archive once; images are then read from where they lie. As in `webdataset`,
    members with the same path up to the first dot of the file name are one sample: an image, and its class as `.cls`
    (a number or a name) or as `cls` or `label` in a `.json`. If no archive holds such a label, file endings tell the
    images, and classes and split are those of `layout_of`. Archives named `train` and `val` (or `validation`, `valid`,
    `test`) are the split.

    Raises:
        ShardError: If an archive is missing, packed, damaged or cut.
        DataError: If there are no images.
    """

    def __init__(self, files: Sequence[Shard], *, origin: str) -> None:
        used, given = split_of_files([file.name for file in files])
        self._files, self.origin = [files[index] for index in used], origin
        found = for_each_shard(_scan, enumerate(self._files))
        with_labels = any(shard.has_labels for shard in found)
        images = [image for shard in found for image in (shard.samples if with_labels else shard.images)]
        if not images:
            raise DataError(
                f"`images` must be archives with images ({', '.join(IMAGE_ENDINGS)}), but {origin} has none"
            )
        if with_labels:
            self.classes, self.labels = classes_of([image.label for image in images])
        else:
            layout = layout_of([image.member.name for image in images])
            images = [images[index] for index in layout.used]
            self.classes, self.labels, self.given_validation = layout.classes, layout.labels, layout.given_validation
        self.names = tuple(f"{self._files[image.shard].name}/{image.member.name}" for image in images)
        self._shards = np.array([image.shard for image in images])
        self._offsets = np.array([image.member.offset for image in images])
        self._sizes = np.array([image.member.size for image in images])
        if given is not None:
            self.given_validation = np.array(given)[self._shards]
        self.units = ReadingUnits(_units_of(self._shards), _WINDOW)

    def read(self, index: int) -> bytes:
        size = int(self._sizes[index])
        require_image_bytes(size)
        return self._files[self._shards[index]].read(int(self._offsets[index]), size)


class _Image(NamedTuple):
    shard: int
    member: TarMember
    label: int | str | None = None


class _Found(NamedTuple):
    """What one archive holds, as files and as samples of `webdataset`."""

    images: list[_Image]
    samples: list[_Image]
    has_labels: bool


def _scan(numbered: tuple[int, Shard]) -> _Found:
    shard, file = numbered
    images: list[_Image] = []
    of_sample: dict[str, _Image] = {}
    labels: dict[str, int | str] = {}
    with file.reader() as read:
        for member in scan_tar(file, read):
            folder, slash, base = member.name.rpartition("/")
            stem, _, ending = base.partition(".")
            key, ending = f"{folder}{slash}{stem}", ending.lower()
            if base.startswith("."):  # such as the `._NAME` that macOS adds
                continue
            if is_image_name(base):
                images.append(_Image(shard, member))
            if ending in IMAGE_ENDINGS:
                of_sample.setdefault(key, _Image(shard, member))
            elif ending in ("cls", "json"):
                label = _read_label(file, read, member, ending)
                if label is not None and (ending == "cls" or key not in labels):
                    labels[key] = label
    samples = [image._replace(label=labels.get(key)) for key, image in of_sample.items()]
    return _Found(images, samples, bool(labels))


def _read_label(file: Shard, read: Read, member: TarMember, ending: str) -> int | str | None:
    if member.size > _MAX_LABEL_BYTES:
        if ending == "cls":
            raise ShardError(f"{file.path} has a class of {member.size} bytes, {member.name}; it must be a name")
        return None
    text = read(member.offset, member.size).decode(errors="replace").strip()
    label: int | str | None
    if ending == "cls":
        label = int(text) if text.removeprefix("-").isdecimal() else text
    else:
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ShardError(f"{file.path} holds {member.name}, which is not JSON; write it anew") from error
        found = (values.get(key) for key in _LABEL_KEYS) if isinstance(values, dict) else ()
        label = next((v for v in found if isinstance(v, int | str) and not isinstance(v, bool)), None)
    return None if label in (-1, "") else label


def _units_of(shards: np.ndarray) -> np.ndarray:
    """Cut each archive's images into units of neighbours."""
    starts = np.searchsorted(shards, shards)  # of the archive that each image lies in
    within = (np.arange(len(shards)) - starts) // _IMAGES_PER_UNIT
    return np.unique(shards * len(shards) + within, return_inverse=True)[1]
