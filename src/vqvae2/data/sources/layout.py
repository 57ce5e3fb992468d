"""What the names of images say: which are used, held out, and of which class."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["IMAGE_ENDINGS", "Layout", "is_image_name", "layout_of", "split_of_files"]

IMAGE_ENDINGS = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff")

_HELD_OUT = ("validation", "valid", "val", "test")  # the first that is there is taken


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

    If there are two folders `train` and `validation` (or `valid`, `val`, `test`), side by side and holding everything
    between them or with others, they are the split, and only what lies in them is used. If every image that is trained
    on lies in a sub-folder, the folder that holds an image is its class; held-out images that lie in no folder of such
    a name have no class.
    """
    folders = _split_folders(names)
    if folders is None:
        used, given, inner = list(range(len(names))), None, list(names)
    else:
        train, held_out = folders
        used = [index for index, name in enumerate(names) if name.startswith(folders)]
        is_out = [names[index].startswith(held_out) for index in used]
        inner = [names[i][len(held_out if out else train) :] for i, out in zip(used, is_out, strict=True)]
        given = np.array(is_out)
    holders = [name.rsplit("/", 2)[-2] if "/" in name else None for name in inner]
    of_training = holders if given is None else [h for h, is_out in zip(holders, given, strict=True) if not is_out]
    found = set(of_training)
    classes = () if None in found else tuple(sorted(name for name in found if name is not None))
    index_of = {name: index for index, name in enumerate(classes)}
    labels = np.array([-1 if holder is None else index_of.get(holder, -1) for holder in holders], dtype=np.int64)
    return Layout(np.array(used, dtype=np.int64), given, labels, classes)


def split_of_files(names: Sequence[str]) -> tuple[list[int], list[bool] | None]:
    """Tell from the names of files of many images, such as `data/train-00000-of-00004`, which are used and held out.

    Returns:
        Which of the files are used, and which of those are held out; None if the names do not say. As with folders,
        other files are not used where there are some for training and some that are held out.
    """
    words = [set(re.split(r"[^a-z]+", name.lower())) for name in names]
    training = [bool(found & {"train", "training"}) for found in words]
    wanted = next((w for w in _HELD_OUT if any(w in found for found in words)), None)
    held_out = [wanted in found and not is_training for found, is_training in zip(words, training, strict=True)]
    if not any(training) or not any(held_out):
        return list(range(len(names))), None
    used = [index for index in range(len(names)) if training[index] or held_out[index]]
    return used, [held_out[index] for index in used]


def _split_folders(names: Sequence[str]) -> tuple[str, str] | None:
    """Find the folders of training and held-out images; above them there may be folders that hold nothing else."""
    if not names:
        return None
    ends = (name.split("/")[:-1] for name in (min(names), max(names)))
    shared = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(*ends, strict=False)
    )  # by these two, and so by all
    above = "".join(f"{folder}/" for folder, _ in shared)
    tops = {rest.partition("/")[0] for name in names if "/" in (rest := name[len(above) :])}
    held_out = next((folder for folder in _HELD_OUT if folder in tops), None)
    return (f"{above}train/", f"{above}{held_out}/") if "train" in tops and held_out else None
