"""Finds files: below a folder, or by a pattern."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vqvae2.errors import DataError

__all__ = ["find_pattern", "require_all_shards", "walk_files"]

_MOST_NAMES = 1_000_000
_NUMBERED = re.compile(r"^(.*?)-?(\d+)-of-(\d+)(\D.*)?$")


def walk_files(root: Path) -> Iterator[str]:
    """List the files below a folder as paths with forward slashes, in no order, without opening any.

    Leaves out hidden files and folders, links to folders, and folders named `__...`.

    Raises:
        DataError: If a folder cannot be listed, or a name is not UTF-8.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"{root / folder} cannot be listed: {error.strerror}") from error
        for entry in listed:
            try:
                entry.name.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{root} cannot be listed ({os.fsencode(entry.name)!r}); names must be UTF-8"
                ) from error
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("__"):
                    waiting.append(f"{folder}{entry.name}/")
            elif entry.is_file():
                yield f"{folder}{entry.name}"


def find_pattern(pattern: str) -> list[Path]:
    """List the files that a pattern finds, sorted: `*`, `?`, `[...]` and `**` as in a shell, `{a,b}`, `{000..127}`.

    A name that only braces spell is listed even if it does not exist, so that a missing shard is noticed.

    Raises:
        DataError: If there are none.
    """
    found: set[str] = set()
    for name in _expand_braces(pattern):
        found.update(glob.glob(name, recursive=True) if glob.has_magic(name) else [name])
    if not found:
        raise DataError(f"`images` must be files that exist, but {pattern} finds none")
    return [Path(name) for name in sorted(found)]


def require_all_shards(names: Sequence[str]) -> None:
    """Refuse numbered files (`train-00002-of-00004.parquet`) of which some are missing.

    Raises:
        DataError: If one is missing.
    """
    series: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        match = _NUMBERED.match(name)
        if match:
            start, number, total, rest = match.groups()
            series.setdefault((start, total, rest or ""), set()).add(int(number))
    for (start, total, rest), numbers in series.items():
        first = 0 if 0 in numbers else 1  # some series count from 1
        missing = [number for number in range(first, first + min(int(total), _MOST_NAMES)) if number not in numbers]
        if missing:
            name = f"{start}-{missing[0]:0{len(total)}d}-of-{total}{rest}"
            raise DataError(
                f"`images` must be all {total} files of a series, but {len(missing)} of them are missing, such as "
                f"{name}; fetch them, or rename the others"
            )


def _expand_braces(pattern: str) -> list[str]:
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match.group(1))
    if numbers:
        first, last = numbers.groups()
        if int(last) - int(first) >= _MOST_NAMES:
            raise DataError(f"`images` must name at most {_MOST_NAMES} files, but {{{match.group(1)}}} are more")
        width = len(first) if first.startswith("0") or len(first) == len(last) else 0
        parts = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    elif "," in match.group(1):
        parts = match.group(1).split(",")
    else:
        return [pattern]
    before, after = pattern[: match.start()], pattern[match.end() :]
    return list(itertools.chain.from_iterable(_expand_braces(f"{before}{part}{after}") for part in parts))
