"""The split into training and validation images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from vqvae2.config import ImageConfig
from vqvae2.data.collection import Collection
from vqvae2.data.sources.source import ImageSource
from vqvae2.errors import DataError

__all__ = ["split_images", "validation_mask"]


def split_images(source: ImageSource, used: Sequence[int], config: ImageConfig) -> Collection:
    """Collect the images of a source that are used; those that it holds out itself are, if both sides have some.

    Raises:
        DataError: If all images form one group.
    """
    names, given = tuple(source.names[index] for index in used), source.given_validation
    if given is not None:
        given = given[used]
    if given is None or given.all() or not given.any():
        given = validation_mask(names, config)
    return Collection(names=names, labels=source.labels[used], classes=source.classes, is_validation=given)


def validation_mask(names: Sequence[str], config: ImageConfig) -> np.ndarray:
    """Choose the validation images by a hash of their file names.

    Folders do not count, so an image stays on its side when it is moved or others are added. With
    `config.group_pattern`, which is searched in the path, images with the same first group (or match, if it has no
    group) stay on one side, as near duplicates must. `config.validation_fraction` is the share of the groups to hold
    out; each side gets at least one.

    Returns:
        bool `(N,)`, true for validation.

    Raises:
        DataError: If all images form one group.
    """
    keys = _group_keys(names, config.group_pattern)
    places = {key: _hash_to_unit(key) for key in keys}
    if len(places) < 2:
        raise DataError(
            "at least two file names (or groups of `group_pattern`) are needed for training and validation, "
            f"got {len(places)} for {len(names)} images; folders do not count, but `group_pattern` sees the path"
        )
    held_out = {key for key, place in places.items() if place < config.validation_fraction}
    if not held_out:
        held_out = {min(places, key=places.__getitem__)}
    if len(held_out) == len(places):
        held_out -= {max(places, key=places.__getitem__)}
    return np.array([key in held_out for key in keys])


def _group_keys(names: Sequence[str], group_pattern: str | None) -> list[str]:
    base_names = [name.rsplit("/", 1)[-1] for name in names]
    if group_pattern is None:
        return base_names
    pattern, keys = re.compile(group_pattern), []
    for name, base_name in zip(names, base_names, strict=True):
        match = pattern.search(name)
        group = match and (match.group(1) if pattern.groups else match.group())
        keys.append(base_name if group is None else group)
    return keys


def _hash_to_unit(key: str) -> float:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
