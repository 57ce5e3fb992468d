"""What the names and labels of images say: which images are used, which are held out, and the class of each."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from vqvae2.data.sources.left_aside import LeftAside, counted

__all__ = ["IMAGE_ENDINGS", "Layout", "is_image_name", "label_name", "layout_of", "split_of_files"]

IMAGE_ENDINGS = ("png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff")

_TRAINING = ("train", "training")
_HELD_OUT = ("validation", "valid", "val", "test", "testing")  # the first one found is used


class Layout(NamedTuple):
    """What names and labels say of N images, M of which are used."""

    used: np.ndarray
    """int64 `(M,)`: which of the names are used."""
    given_validation: np.ndarray | None
    """bool `(M,)`: which of these are held out; None if nothing says so."""
    labels: np.ndarray
    """int64 `(M,)`: index of the class, -1 where there is none."""
    classes: tuple[str, ...]
    split_origin: str
    """What says which images are held out, in words; empty if nothing does."""
    remarks: dict[str, str]
    """What may be meant otherwise, each with a remedy."""


class FileSplit(NamedTuple):
    """What the names of N files with many images each say, M of which are used."""

    used: list[int]
    held_out: list[bool] | None
    """Which of the M files are held out; None if the names do not say."""
    origin: str
    """What says so, in words."""


class _Split(NamedTuple):
    """Folders that are a split, each with a slash at its end; empty if there is none."""

    training: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    is_in_classes: bool = False
    """Whether these lie in the folders of classes."""

    @property
    def folders(self) -> tuple[str, ...]:
        return self.training + self.held_out


def is_image_name(name: str) -> bool:
    """Whether a name ends like that of an image, whatever the case."""
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS and "." in name


def layout_of(
    names: Sequence[str],
    left_aside: LeftAside,
    *,
    labels: Sequence[str | None] | None = None,
    held_out: Sequence[bool] | None = None,
    split_origin: str = "",
) -> Layout:
    """Read the layout off paths with forward slashes.

    Two folders side by side, `train` (or `training`) and `validation` (or `valid`, `val`, `test`, `testing`), in any
    case, are the split, see `_find_split`; images outside of them are left aside. The folder that holds an image is its
    class; where the folder of each class holds such a split, this one is. Where all images lie in folders of one name,
    such as `images`, within different ones, those different ones are the classes. Images outside of class folders have
    no class; if they are more than half of the training images, none has one.

    Args:
        names: Paths of the images, within a folder or an archive.
        left_aside: Counts the images that are not used.
        labels: Name of each image's class, None where it has none, if something else than its folder says so.
        held_out: Which images are held out, if something else than their folders says so.
        split_origin: What says so, in words.
    """
    remarks: dict[str, str] = {}
    split = _find_split(names) if held_out is None else _Split()
    used = list(range(len(names)))
    if split.folders:
        used = list(itertools.compress(used, _lie_in(names, split.folders)))
        split_origin = _split_in_words(split, remarks)
        left_aside.add_unused("images outside of the folders of the split", names, used)
    sides = _lie_in(names, split.held_out) if held_out is None else held_out
    is_held_out = np.array([sides[index] for index in used], dtype=bool)
    has_split = bool(split.folders) or held_out is not None
    if labels is None:
        found = _classes_by_folder([names[index] for index in used], ~is_held_out, split, remarks)
    else:
        found = [labels[index] for index in used]
    classes = _ordered({name for name in itertools.compress(found, ~is_held_out) if name is not None})
    if not has_split:
        _remark_hidden_split(names, classes, remarks)
    index_of: dict[str | None, int] = {name: index for index, name in enumerate(classes)}
    numbers = np.array([index_of.get(name, -1) for name in found], dtype=np.int64)
    given = is_held_out if has_split else None
    return Layout(np.array(used, dtype=np.int64), given, numbers, classes, split_origin, remarks)


def label_name(value: object) -> str | None:
    """Turn a stored label into the name of a class: None for -1, NaN, an empty text, or what is no label.

    A whole number stored as a float is the whole number.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip() if isinstance(value, int | str) else ""
    return None if text in ("", "-1") else text


def split_of_files(names: Sequence[str]) -> FileSplit:
    """Read a split off the names of files with many images each, such as `data/train-00000-of-00004`.

    If there are both training and held-out files, others are not used.
    """
    words = [set(re.split(r"[^a-z]+", name.lower())) for name in names]
    training = [bool(found & set(_TRAINING)) for found in words]
    wanted = next((w for w in _HELD_OUT if any(w in found for found in words)), None)
    held_out = [wanted in found and not is_training for found, is_training in zip(words, training, strict=True)]
    if not any(training) or not any(held_out):
        return FileSplit(list(range(len(names))), None, "")
    used = [index for index in range(len(names)) if training[index] or held_out[index]]
    return FileSplit(used, [held_out[index] for index in used], f"files named train and {wanted}")


def _ordered(classes: Iterable[str]) -> tuple[str, ...]:
    """Sort classes: numbers by value, then names."""

    def place(name: str) -> tuple[bool, int, str]:
        is_number = name.isascii() and name.isdecimal()
        return not is_number, int(name) if is_number else 0, name

    return tuple(sorted(classes, key=place))


def _find_split(names: Sequence[str]) -> _Split:
    """Find the folders of training and held-out images.

    They lie directly below the folders that all images share; or else in the only folder that holds both kinds; or in
    several of one depth, the classes, of which some may hold one kind. At least nine of ten images lie in these.
    """
    inside: dict[str, set[str]] = {}  # the folders in each folder, which has a slash at its end
    for folder in {name.rpartition("/")[0] for name in names}:
        above = ""
        for part in folder.split("/"):
            inside.setdefault(above, set()).add(part)
            above += f"{part}/"
    if not names:
        return _Split()
    # What the first and the last name in sorted order share, all names share.
    ends = (name.split("/")[:-1] for name in (min(names), max(names)))
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False))
    top = "".join(f"{part}/" for part, _ in shared)
    below = {above: [f"{above}{part}/" for part in sorted(parts)] for above, parts in inside.items()}
    split = _split_among(below.get(top, []))
    if split.folders:
        return split
    found = {above: split for above, folders in below.items() if (split := _split_among(folders)).folders}
    depths = {above.count("/") for above in found}
    if len(depths) != 1:
        return _Split()
    split = next(iter(found.values()))
    if len(found) > 1:
        alike = itertools.chain.from_iterable(folders for above, folders in below.items() if above.count("/") in depths)
        split = _split_among(sorted(alike))._replace(is_in_classes=True)
    holders = {"/".join(folder.split("/")[:-2]) + "/" for folder in split.folders}
    return split if 10 * sum(_lie_in(names, tuple(holders))) >= 9 * len(names) else _Split()


def _split_among(folders: Sequence[str]) -> _Split:
    named = [(folder, folder.split("/")[-2].lower()) for folder in folders]
    training = tuple(folder for folder, name in named if name in _TRAINING)
    for word in _HELD_OUT:
        held_out = tuple(folder for folder, name in named if name == word)
        if training and held_out:
            return _Split(training, held_out)
    return _Split()


def _lie_in(names: Sequence[str], folders: tuple[str, ...]) -> list[bool]:
    """Tell for each path whether it lies in one of some folders, which have a slash at their ends."""
    paths = [name.rpartition("/")[0] for name in names]
    is_inside = {path: f"{path}/".startswith(folders) for path in set(paths)}
    return [is_inside[path] for path in paths]


def _split_in_words(split: _Split, remarks: dict[str, str]) -> str:
    names = dict.fromkeys(folder.split("/")[-2] for folder in split.folders)
    in_words = f"folders {' and '.join(names)}{' in those of classes' if split.is_in_classes else ''}"
    if any(name != name.lower() for name in names):
        remarks["a split in another case"] = f"the {in_words} are read as the split; rename them if they are classes"
    return in_words


def _remark_hidden_split(names: Sequence[str], classes: Sequence[str], remarks: dict[str, str]) -> None:
    """Tell of folders that are named like a split, but are none."""
    parts = {part for folder in {name.rpartition("/")[0] for name in names} for part in folder.split("/")}
    training, held_out = (sorted(p for p in parts if p.lower() in words) for words in (_TRAINING, _HELD_OUT))
    if (training and held_out) or {*training, *held_out} & set(classes):
        remarks["a split that is not read"] = (
            f"folders are named {', '.join(training + held_out)}, but are not read as a split: one folder, or "
            "that of each class, must hold a train and a val folder, with nearly all images in these; move the images, "
            "or give that folder"
        )


def _classes_by_folder(
    names: Sequence[str], is_training: np.ndarray, split: _Split, remarks: dict[str, str]
) -> list[str | None]:
    """Name the class of each image by its folder, as `layout_of` says."""
    folders = [name.rpartition("/")[0] for name in names]
    inner = {folder: _below_split(folder, split) for folder in set(folders)}
    counts = Counter(itertools.compress(folders, is_training))
    training = {folder: inner[folder] for folder in counts if inner[folder]}
    # Folders of one name, such as `images` in each of several, say nothing: the folders above them do.
    while (
        len({tuple(parts) for parts in training.values()}) > 1
        and len({parts[-1] for parts in training.values()}) == 1
        and min(map(len, training.values())) > 1
    ):
        last = next(iter(training.values()))[-1]
        inner = {folder: parts[:-1] if parts[-1:] == [last] else parts for folder, parts in inner.items()}
        training = {folder: inner[folder] for folder in training}
    outside = sum(count for folder, count in counts.items() if not inner[folder])
    inside = sum(counts.values()) - outside
    if not inside:
        return [None] * len(names)
    if outside > inside:
        remarks["folders that are no classes"] = (
            f"{inside} of {inside + outside} images lie in folders such as {min(training)}, which are no classes, as "
            "most images lie outside; move all images into the folders of their classes, or these away"
        )
        return [None] * len(names)
    if outside:
        example = min(name for name in itertools.compress(names, is_training) if not inner[name.rpartition("/")[0]])
        remarks["images outside of class folders"] = (
            f"{counted(outside, 'image')} beside the folders of classes, such as {example}, "
            f"{'has' if outside == 1 else 'have'} no class; move {'it' if outside == 1 else 'them'} into one, or away"
        )
    _remark_joined(training, remarks)
    return [inner[folder][-1] if inner[folder] else None for folder in folders]


def _below_split(folder: str, split: _Split) -> list[str]:
    """Split a folder's path into parts, without the folder of the split and those above, other than that of a class."""
    above = next((top for top in split.folders if f"{folder}/".startswith(top)), "")
    parts = [part for part in folder[len(above) :].split("/") if part]
    return [above.split("/")[-3], *parts] if split.is_in_classes else parts


def _remark_joined(training: dict[str, list[str]], remarks: dict[str, str]) -> None:
    """Tell of classes whose images lie in several folders."""
    places: dict[str, set[str]] = {}
    for parts in training.values():
        places.setdefault(parts[-1], set()).add("/".join(parts))
    joined = {name: sorted(paths) for name, paths in places.items() if len(paths) > 1}
    if joined:
        name, paths = min(joined.items())
        remarks["classes of several folders"] = (
            f"{counted(len(joined), 'class', 'classes')} gathered from folders of one name, such as {name} from "
            f"{' and '.join(paths[:2])}; rename folders that are no class"
        )
