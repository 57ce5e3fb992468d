"""The split into training and validation images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from vqvae2.config import ImageConfig
from vqvae2.errors import ConfigError, DataError

__all__ = ["split_images", "validation_mask"]


def split_images(names: Sequence[str], given: np.ndarray | None, config: ImageConfig) -> np.ndarray:
    """Choose the validation images, bool `(N,)`: those that the source holds out, if both sides have some.

    Raises:
        ConfigError, DataError: As `validation_mask` does.
    """
    if given is not None and 0 < given.sum() < len(given):
        return given
    return validation_mask(names, fraction=config.validation_fraction, group_pattern=config.group_pattern)


def validation_mask(names: Sequence[str], *, fraction: float, group_pattern: str | None = None) -> np.ndarray:
    """Choose the validation images by a hash of their file names.

    Folders do not count, so an image stays on its side when it is moved or others are added. Each side gets at least
    one group.

    Args:
        names: Paths of the images.
        fraction: Share of the groups to hold out, between 0 and 1.
        group_pattern: A regular expression searched in the path. Images with the same first group (or match, if it
            has no group) stay on one side, as near duplicates must. None makes each file name a group.

    Returns:
        bool `(N,)`, true for validation.

    Raises:
        ConfigError: If the fraction or the pattern cannot be used.
        DataError: If all images form one group.
    """
    if not 0.0 < fraction < 1.0:
        raise ConfigError(f"`validation_fraction` must lie between 0 and 1, got {fraction}")
    keys = _group_keys(names, group_pattern)
    places = {key: _hash_to_unit(key) for key in keys}
    if len(places) < 2:
        raise DataError(
            "at least two file names (or groups of `group_pattern`) are needed for training and validation, "
            f"got {len(places)} for {len(names)} images; folders do not count, but `group_pattern` sees the path"
        )
    held_out = {key for key, place in places.items() if place < fraction}
    if not held_out:
        held_out = {min(places, key=places.__getitem__)}
    if len(held_out) == len(places):
        held_out -= {max(places, key=places.__getitem__)}
    return np.array([key in held_out for key in keys])


def _group_keys(names: Sequence[str], group_pattern: str | None) -> list[str]:
    base_names = [name.rsplit("/", 1)[-1] for name in names]
    if group_pattern is None:
        return base_names
    try:
        pattern = re.compile(group_pattern)
    except re.error as error:
        raise ConfigError(f"`group_pattern` must be a regular expression, got {group_pattern!r}: {error}") from error
    keys = []
    for name, base_name in zip(names, base_names, strict=True):
        match = pattern.search(name)
        group = match and (match.group(1) if pattern.groups else match.group())
        keys.append(base_name if group is None else group)
    return keys


def _hash_to_unit(key: str) -> float:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
