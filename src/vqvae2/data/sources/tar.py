"""Images in tar archives, as `webdataset` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vqvae2.data.sources.layout import IMAGE_ENDINGS, is_image_name, label_name, layout_of, split_of_files
from vqvae2.data.sources.left_aside import LeftAside
from vqvae2.data.sources.listing import is_hidden, kind_of_file
from vqvae2.data.sources.shards import Read, Shard, for_each_shard
from vqvae2.data.sources.source import ImageSource, ReadingUnits, ShardError, require_image_bytes
from vqvae2.data.sources.tar_headers import TarMember, scan_tar
from vqvae2.errors import DataError
from vqvae2.images import begins_like_image

__all__ = ["TarShards"]

_IMAGES_PER_UNIT = 256  # read one after the other, which disks and networks serve fast
_WINDOW = 16
_MAX_LABEL_BYTES = 2**16
_LABEL_KEYS = ("cls", "label")


class TarShards(ImageSource):
    """Images in one or more tar archives, in the order of the archives and of what lies in them.

    Opening scans the headers of each archive once; images are then read from where they lie. As in `webdataset`, the
    class of an image is the `.cls` (a number or a name), or `cls` or `label` in the `.json`, of the same path up to the
    last dot, or else up to the first dot of the file name. Where an archive holds such classes, images that are further
    parts of a sample, such as `1.seg.png` beside `1.jpg`, are left aside. Otherwise the class is that of `layout_of`,
    which also reads the split, unless archives are named `train` and `val` (or `validation`, `valid`, `test`).

    Raises:
        ShardError: If an archive is missing, packed, damaged or cut.
        DataError: If there are no images.
    """

    def __init__(self, files: Sequence[Shard], *, origin: str, left_aside: LeftAside) -> None:
        file_names = [file.name for file in files]
        split = split_of_files(file_names)
        left_aside.add_unused("archives outside of the split", file_names, split.used)
        self._files, self.origin = [files[index] for index in split.used], origin
        found = for_each_shard(_scan, enumerate(self._files))
        left_aside.merge(shard.left_aside for shard in found)
        with_labels = any(shard.labels for shard in found)
        images = [image for shard in found for image in (shard.labelled(left_aside) if with_labels else shard.images)]
        if not images:
            raise DataError(
                f"`images` must be archives with images ({', '.join(IMAGE_ENDINGS)}), but {origin} has none"
            )
        layout = layout_of(
            [image.path for image in images],
            left_aside,
            labels=[image.label for image in images] if with_labels else None,
            held_out=None if split.held_out is None else [split.held_out[image.shard] for image in images],
            split_origin=split.origin,
        )
        images = [images[index] for index in layout.used]
        self._take_layout(layout, left_aside)
        self.names = tuple(f"{self._files[image.shard].name}/{image.member.name}" for image in images)
        self._shards = np.array([image.shard for image in images])
        self._offsets = np.array([image.member.offset for image in images])
        self._sizes = np.array([image.member.size for image in images])
        self.units = ReadingUnits(_units_of(self._shards), _WINDOW)

    def path_of(self, index: int) -> str:
        return self.names[index][len(self._files[self._shards[index]].name) + 1 :].removeprefix("./")

    def read(self, index: int) -> bytes:
        size = int(self._sizes[index])
        require_image_bytes(size)
        return self._files[self._shards[index]].read(int(self._offsets[index]), size)


class _Image(NamedTuple):
    shard: int
    member: TarMember
    label: str | None = None

    @property
    def path(self) -> str:
        return self.member.name.removeprefix("./")  # which `tar` writes before each name in `.`


class _Found(NamedTuple):
    """What one archive holds."""

    images: list[_Image]
    labels: dict[str, str]
    """By the path of the label's file, without its ending."""
    left_aside: LeftAside

    def labelled(self, left_aside: LeftAside) -> list[_Image]:
        """Return an image for each sample, with its label, and count its further images."""
        stems = {_up_to_last_dot(image.member.name) for image in self.images}
        found: dict[str, _Image] = {}
        for image in self.images:
            stem, key = _up_to_last_dot(image.member.name), _up_to_first_dot(image.member.name)
            if stem in found or (stem != key and key in stems and stem not in self.labels):
                left_aside.add("further images of a sample", image.member.name)
            else:
                found[stem] = image._replace(label=self.labels.get(stem, self.labels.get(key)))
        return list(found.values())


def _up_to_last_dot(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.rpartition(".")[0] or base)


def _up_to_first_dot(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _scan(numbered: tuple[int, Shard]) -> _Found:
    shard, file = numbered
    images: list[_Image] = []
    labels: dict[str, str] = {}
    left_aside = LeftAside()
    with file.reader() as read:
        for member in scan_tar(file, read, left_aside):
            folder, _, base = member.name.rpartition("/")
            stem, ending = _up_to_last_dot(member.name), base.rpartition(".")[2].lower()
            if any(map(is_hidden, member.name.split("/"))) or any(part.startswith("__") for part in folder.split("/")):
                left_aside.add("hidden files and folders", f"{file.name}/{member.name}")
            elif is_image_name(base) or ("." not in base and _begins_like_image(read, member)):
                images.append(_Image(shard, member))
            elif ending in ("cls", "json"):
                label = _read_label(file, read, member, ending)
                if label is not None and (ending == "cls" or stem not in labels):
                    labels[stem] = label
            else:
                left_aside.add(kind_of_file(base), f"{file.name}/{member.name}")
    return _Found(images, labels, left_aside)


def _begins_like_image(read: Read, member: TarMember) -> bool:
    return begins_like_image(read(member.offset, min(16, member.size)))


def _read_label(file: Shard, read: Read, member: TarMember, ending: str) -> str | None:
    if member.size > _MAX_LABEL_BYTES:
        if ending == "cls":
            raise ShardError(f"{file.path} has a class of {member.size} bytes, {member.name}; it must be a name")
        return None
    text = read(member.offset, member.size).decode(errors="replace").strip()
    if ending == "cls":
        return label_name(text)
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ShardError(f"{file.path} holds {member.name}, which is not JSON; write it anew") from error
    found = (values.get(key) for key in _LABEL_KEYS) if isinstance(values, dict) else ()
    return next((name for value in found if (name := label_name(value)) is not None), None)


def _units_of(shards: np.ndarray) -> np.ndarray:
    """Cut each archive's images into units of neighbours."""
    starts = np.searchsorted(shards, shards)  # of the archive that each image lies in
    within = (np.arange(len(shards)) - starts) // _IMAGES_PER_UNIT
    return np.unique(shards * len(shards) + within, return_inverse=True)[1]
