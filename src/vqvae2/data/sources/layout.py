"""What the names and labels of images say: which images are used, which are held out, and the class of each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["IMAGE_ENDINGS", "Layout", "classes_of", "is_image_name", "layout_of", "split_of_files"]

IMAGE_ENDINGS = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff")

_HELD_OUT = ("validation", "valid", "val", "test")  # the first one found is used


class Layout(NamedTuple):
    """What names say of N images, M of which are used."""

    used: np.ndarray
    """int64 `(M,)`: which of the names are used."""
    given_validation: np.ndarray | None
    """bool `(M,)`: which of these are held out; None if the names do not say."""
    labels: np.ndarray
    """int64 `(M,)`: index of the class, -1 where there is none."""
    classes: tuple[str, ...]


def is_image_name(name: str) -> bool:
    """Whether a name ends like that of an image, whatever the case."""
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS and "." in name


def layout_of(names: Sequence[str]) -> Layout:
    """Read the layout off paths with forward slashes.

    Two folders side by side, `train` and `validation` (or `valid`, `val`, `test`), are the split; images outside of
    them are not used. If every training image lies in a sub-folder, the folder that holds an image is its class.
    Held-out images have no class if no training image has theirs.
    """
    folders = _split_folders(names)
    used = [index for index, name in enumerate(names) if not folders or name.startswith(folders)]
    is_held_out = np.array([bool(folders) and names[index].startswith(folders[1]) for index in used], dtype=bool)
    holders = [_holder(names[index], folders) for index in used]
    found = set(itertools.compress(holders, ~is_held_out))
    classes = () if None in found else tuple(sorted(name for name in found if name is not None))
    index_of = {name: index for index, name in enumerate(classes)}
    labels = np.array([-1 if holder is None else index_of.get(holder, -1) for holder in holders], dtype=np.int64)
    return Layout(np.array(used, dtype=np.int64), is_held_out if folders else None, labels, classes)


def classes_of(found: Sequence[int | str | None]) -> tuple[tuple[str, ...], np.ndarray]:
    """Make classes of the label of each image: numbers by value, then names; -1 and None are no class.

    Returns:
        Names of the classes, and the class index of each image, int64 `(N,)`, -1 where it has none.
    """
    distinct = {label for label in found if label is not None and label != -1}
    ordered = sorted(distinct, key=lambda label: (isinstance(label, str), label))
    index_of: dict[int | str | None, int] = {label: index for index, label in enumerate(ordered)}
    labels = np.array([index_of.get(label, -1) for label in found], dtype=np.int64)
    return tuple(map(str, ordered)), labels


def split_of_files(names: Sequence[str]) -> tuple[list[int], list[bool] | None]:
    """Read a split off the names of files with many images each, such as `data/train-00000-of-00004`.

    Returns:
        Which of the files are used, and which of those are held out; None if the names do not say. If there are both
        training and held-out files, others are not used.
    """
    words = [set(re.split(r"[^a-z]+", name.lower())) for name in names]
    training = [bool(found & {"train", "training"}) for found in words]
    wanted = next((w for w in _HELD_OUT if any(w in found for found in words)), None)
    held_out = [wanted in found and not is_training for found, is_training in zip(words, training, strict=True)]
    if not any(training) or not any(held_out):
        return list(range(len(names))), None
    used = [index for index in range(len(names)) if training[index] or held_out[index]]
    return used, [held_out[index] for index in used]


def _holder(name: str, folders: tuple[str, ...]) -> str | None:
    """Name the folder that holds an image, unless it is one of the split."""
    folder, slash, _ = name.rpartition("/")
    return None if not slash or folder + slash in folders else folder.rpartition("/")[2]


def _split_folders(names: Sequence[str]) -> tuple[str, ...]:
    """Find the folders of training and held-out images, directly below the folders that all images share."""
    if not names:
        return ()
    # What the first and the last name in sorted order share, all names share.
    ends = (name.split("/")[:-1] for name in (min(names), max(names)))
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False))
    above = "".join(f"{folder}/" for folder, _ in shared)
    tops = {rest.partition("/")[0] for name in names if "/" in (rest := name[len(above) :])}
    held_out = next((folder for folder in _HELD_OUT if folder in tops), None)
    return (f"{above}train/", f"{above}{held_out}/") if "train" in tops and held_out else ()
