"""The split into training and validation images."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vqvae2.config import ImageConfig
from vqvae2.data.collection import Collection
from vqvae2.data.sources.source import ImageSource
from vqvae2.errors import DataError

__all__ = ["split_images", "validation_mask"]

_TOLERANCE = 0.25  # of the share that is held out
_MOST_ALIKE = 8  # images in several folders that a file name may tell of


def split_images(source: ImageSource, used: Sequence[int], config: ImageConfig) -> Collection:
    """Collect the images of a source that are used; those that it holds out itself are, if both sides have some.

    Raises:
        DataError: If all images form one group.
    """
    names, given = tuple(source.names[index] for index in used), source.given_validation
    if given is not None:
        given = given[used]
    labels = source.labels[used]
    if given is None or given.all() or not given.any():
        given = validation_mask(names, config, labels=labels, paths=[source.path_of(int(index)) for index in used])
    return Collection(names=names, labels=labels, classes=source.classes, is_validation=given)


def validation_mask(
    names: Sequence[str],
    config: ImageConfig,
    *,
    labels: np.ndarray | None = None,
    paths: Sequence[str] | None = None,
) -> np.ndarray:
    """Choose the validation images by a hash of their file names.

    The images with the smallest hashes are held out: those whose hash is less than `config.validation_fraction` of the
    largest one that is possible, as long as they are that share of all images to within a quarter of it, and else as
    few more or fewer as it takes. So an image stays on its side when others are added, removed or moved; where the
    share would leave these bounds, each added image moves two others at most.

    The hash is that of the file name alone, so that an image stays on its side when it is moved, and its versions in
    several folders stay together. A name that more than eight images have, such as `left.png` in each folder, says too
    little: then that of the folder is hashed with it, and so on upwards.

    With `config.group_pattern`, which is searched in the path, images with the same first group (or match, if it has no
    group) stay on one side, as near duplicates must; their group is hashed. Few or large groups may miss the share.

    Each side gets at least one image. Each class keeps one for training, unless every class has but one.

    Args:
        names: Paths of the images, with forward slashes.
        config: Share and groups.
        labels: Class of each image, int64 `(N,)`; None if there are no classes.
        paths: The names without those of archives, if there are any; what is hashed where there are no groups.

    Returns:
        bool `(N,)`, true for validation.

    Raises:
        DataError: If there are fewer than two images, or all form one group.
    """
    paths = names if paths is None else paths
    groups, places = _hash_groups(names, paths, config.group_pattern)
    if len(places) < 2:
        raise DataError(
            "at least two images (or groups of `group_pattern`) are needed for training and validation, "
            f"got {len(places)} for {len(names)} images"
        )
    order = np.lexsort((_ranks_of_equals(paths, groups, places), places))  # of the groups: the first are held out
    positions = np.empty_like(order)
    positions[order] = np.arange(len(order))
    # Each class keeps its last group.
    of_class = np.unique(np.zeros(len(names)) if labels is None else labels, return_inverse=True)[1]
    last = np.zeros(of_class.max() + 1, dtype=np.int64)
    np.maximum.at(last, of_class, positions[groups])
    candidates = np.delete(order, np.unique(last))
    if not len(candidates):
        candidates = order[:-1]
    totals = np.cumsum(np.bincount(groups)[candidates])
    wanted = config.validation_fraction * len(names)
    count = int(np.searchsorted(places[candidates], config.validation_fraction))
    fewest = int(np.searchsorted(totals, (1 - _TOLERANCE) * wanted)) + 1
    most = int(np.searchsorted(totals, (1 + _TOLERANCE) * wanted, side="right"))
    count = max(1, min(max(count, fewest), most))
    return np.isin(groups, candidates[:count])


def _hash_groups(
    names: Sequence[str], paths: Sequence[str], group_pattern: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Number the groups of images that stay together, and give each a place.

    Returns:
        The group of each image, int64 `(N,)`, and the hash of each group, float64 in [0, 1).
    """
    pattern = None if group_pattern is None else re.compile(group_pattern)
    numbers: dict[str, int] = {}
    groups, keys = np.empty(len(names), dtype=np.int64), list[str]()
    for index, (name, ending) in enumerate(zip(names, _telling_endings(paths), strict=True)):
        match = pattern.search(name) if pattern else None
        found = match and (match.group(1) if match.re.groups else match.group())
        groups[index] = len(keys) if found is None else numbers.setdefault(found, len(keys))
        if groups[index] == len(keys):
            keys.append(ending if found is None else found)
    return groups, np.array([_hash_to_unit(key) for key in keys])


def _telling_endings(names: Sequence[str]) -> list[str]:
    """Return the shortest ending of each path, in whole names, that at most `_MOST_ALIKE` of the paths share."""
    endings = [name.rpartition("/")[2] for name in names]
    unclear: Sequence[int] = range(len(names))
    while unclear:
        counts = Counter(endings[index] for index in unclear)
        unclear = [i for i in unclear if counts[endings[i]] > _MOST_ALIKE and len(endings[i]) < len(names[i])]
        for index in unclear:
            name, length = names[index], len(endings[index])
            endings[index] = name[name.rfind("/", 0, len(name) - length - 1) + 1 :]
    return endings


def _ranks_of_equals(paths: Sequence[str], groups: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rank the groups of equal hash by the last of their paths."""
    _, inverse, counts = np.unique(places, return_inverse=True, return_counts=True)
    equals = np.flatnonzero((counts[inverse] > 1)[groups])
    ranks = np.zeros(len(places), dtype=np.int64)
    ordered = sorted(equals.tolist(), key=paths.__getitem__)
    ranks[groups[ordered]] = np.arange(len(ordered))
    return ranks


def _hash_to_unit(key: str) -> float:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
