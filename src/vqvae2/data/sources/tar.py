"""Images in tar archives, as `webdataset` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vqvae2.data.sources.layout import IMAGE_ENDINGS, is_image_name, layout_of, split_of_files
from vqvae2.data.sources.shards import ByteFile, ReadAhead, for_each_file
from vqvae2.data.sources.source import ImageRecord, ReadingUnits, ShardError, require_image_bytes
from vqvae2.data.sources.tar_headers import TarMember, scan_tar
from vqvae2.errors import DataError

__all__ = ["TarShards"]

_IMAGES_A_UNIT = 256  # read one after the other, which disks and networks like
_WINDOW = 16
_MOST_LABEL_BYTES = 2**16
_LABEL_KEYS = ("cls", "label")


class TarShards:
    """Images in one or more tar archives, in the order of the archives and of what lies in them. An `ImageSource`.

    Each archive is looked through once, for its headers; images are then read from where they lie. Members whose path
    is the same up to the first dot of the file name are one sample (the convention of `webdataset`): an image, and its
    class as `.cls` (a number or a name) or as `cls` or `label` in a `.json`. If no archive holds such a label, images
    are told by their endings alone, and classes and split are those of `layout_of`. Archives named `train` and `val`
    (or `validation`, `valid`, `test`) are the split.

    Args:
        files: The archives.
        origin: What `open_images` opened them by.

    Raises:
        ShardError: If an archive is missing, packed, damaged or cut.
        DataError: If there are no images.
    """

    def __init__(self, files: Sequence[ByteFile], *, origin: str) -> None:
        used, given = split_of_files([file.name for file in files])
        self._files, self.origin = [files[index] for index in used], origin
        found = for_each_file(lambda entry: _Found.scan(*entry), enumerate(self._files))
        with_labels = any(shard.has_labels for shard in found)
        images = [image for shard in found for image in (shard.samples if with_labels else shard.images)]
        if not images:
            raise DataError(
                f"`images` must be archives with images ({', '.join(IMAGE_ENDINGS)}), but {origin} has none"
            )
        if with_labels:
            self.classes, self.labels = _classes_of([image.label for image in images])
            self.given_validation = None
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

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ImageRecord:
        label, size = int(self.labels[index]), int(self._sizes[index])
        require_image_bytes(size)
        data = self._files[self._shards[index]].read(int(self._offsets[index]), size)
        return ImageRecord(self.names[index], None if label < 0 else label, data)


class _Image(NamedTuple):
    shard: int
    member: TarMember
    label: int | str | None = None


class _Found:
    """What one archive holds: as samples of `webdataset`, and as files."""

    def __init__(self) -> None:
        self.images: list[_Image] = []
        self.samples: list[_Image] = []
        self.has_labels = False

    @classmethod
    def scan(cls, shard: int, file: ByteFile) -> _Found:
        found, file = cls(), ReadAhead(file)
        of_sample: dict[str, _Image] = {}
        labels: dict[str, int | str] = {}
        for member in scan_tar(file):
            folder, slash, base = member.name.rpartition("/")
            stem, _, ending = base.partition(".")
            key, ending = f"{folder}{slash}{stem}", ending.lower()
            if not base.startswith("."):  # such as the `._NAME` that macOS adds
                if is_image_name(base):
                    found.images.append(_Image(shard, member))
                if ending in IMAGE_ENDINGS:
                    of_sample.setdefault(key, _Image(shard, member))
                elif ending in ("cls", "json"):
                    label = _read_label(file, member, ending)
                    if label is not None and (ending == "cls" or key not in labels):
                        labels[key] = label
        found.has_labels = bool(labels)
        found.samples = [image._replace(label=labels.get(key)) for key, image in of_sample.items()]
        return found


def _read_label(file: ByteFile, member: TarMember, ending: str) -> int | str | None:
    if member.size > _MOST_LABEL_BYTES:
        if ending == "cls":
            raise ShardError(f"{file.place} has a class of {member.size} bytes, {member.name}; it must be a name")
        return None
    text = file.read(member.offset, member.size).decode(errors="replace").strip()
    if ending == "cls":
        return _class_or_none(int(text) if text.removeprefix("-").isdecimal() else text)
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ShardError(f"{file.place} holds {member.name}, which is not JSON; write it anew") from error
    found = (values.get(key) for key in _LABEL_KEYS) if isinstance(values, dict) else ()
    known = (value for value in found if isinstance(value, int | str) and not isinstance(value, bool))
    return _class_or_none(next(known, None))


def _class_or_none(label: int | str | None) -> int | str | None:
    """Take -1 and an empty name for what they are meant as."""
    return None if label in (-1, "") else label


def _classes_of(found: Sequence[int | str | None]) -> tuple[tuple[str, ...], np.ndarray]:
    """Order classes, numbers by their value, and names after them; number `k` of a whole range is class `k`."""
    distinct = {label for label in found if label is not None}
    ordered = sorted(distinct, key=lambda label: (isinstance(label, str), label))
    index_of = {label: index for index, label in enumerate(ordered)}
    labels = np.array([-1 if label is None else index_of[label] for label in found], dtype=np.int64)
    return tuple(str(label) for label in ordered), labels


def _units_of(shards: np.ndarray) -> np.ndarray:
    """Cut each archive's images into units of neighbours."""
    starts = np.searchsorted(shards, shards)  # of the archive that each image lies in
    within = (np.arange(len(shards)) - starts) // _IMAGES_A_UNIT
    is_new = np.ones(len(shards), dtype=bool)
    is_new[1:] = (np.diff(shards) != 0) | (np.diff(within) != 0)
    return is_new.cumsum() - 1
