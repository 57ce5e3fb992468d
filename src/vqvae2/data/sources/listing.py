"""Finds files: below a folder, or by a pattern."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from vqvae2.data.sources.layout import is_image_name
from vqvae2.data.sources.left_aside import LeftAside
from vqvae2.errors import DataError
from vqvae2.images import begins_like_image

__all__ = [
    "find_images",
    "find_pattern",
    "is_hidden",
    "is_written_by_us",
    "kind_of_file",
    "require_all_shards",
    "walk_files",
]

_RECORDS = ("run.json", "classifier.json", "config.json", "evaluation.json")
_LISTINGS = ("samples.json", "reconstructions.json", "completions.json", "compressed.json", "decompressed.json")
# What is in the first bytes of such files, if a command of this package wrote them.
_HEAD_BYTES, _IN_RECORDS, _IN_LISTINGS = 4096, b'"magic": "vqvae2.', b'"pipeline": '
_OTHER_FORMATS = ("avif", "exr", "heic", "heif", "ico", "jp2", "jxl", "npy", "pgm", "pnm", "ppm", "psd", "svg", "tga")
_MOST_NAMES = 1_000_000
_NUMBERED = re.compile(r"^(.*?)-?(\d+)-of-(\d+)(\D.*)?$")


def find_images(root: Path) -> tuple[list[str], LeftAside]:
    """List the images below a folder, sorted, and count what is left aside.

    An image has an ending of `IMAGE_ENDINGS`, or none at all and begins like an image. Folders that a command of this
    package wrote are left aside.

    Raises:
        DataError: If a folder cannot be listed, or a name is not UTF-8.
    """
    left_aside, names = LeftAside(), []
    for name in walk_files(root, left_aside, leave_out=is_written_by_us):
        if is_image_name(name) or ("." not in name.rpartition("/")[2] and _begins_like_image(root / name)):
            names.append(name)
        else:
            left_aside.add(kind_of_file(name), name)
    return sorted(names), left_aside


def walk_files(
    root: Path, left_aside: LeftAside | None = None, *, leave_out: Callable[[Path, Collection[str]], bool] | None = None
) -> Iterator[str]:
    """List the files below a folder as paths with forward slashes, in no order.

    Leaves out hidden files and folders, folders named `__...`, and folders below the root that `leave_out` tells by
    their path and the names in them. Links are followed, but nothing is listed twice: a link to what is listed anyway,
    or by another link, is left out.

    Raises:
        DataError: If a folder cannot be listed, or a name is not UTF-8.
    """
    aside = LeftAside() if left_aside is None else left_aside
    listed: set[tuple[int, int]] = set()  # folders, by device and number
    waiting, linked_folders, linked_files = [""], list[str](), list[str]()
    while waiting or linked_folders:
        if not waiting:  # links come last, so that a file is listed where it lies if it lies below the root
            linked_folders.sort(reverse=True)
            waiting.append(linked_folders.pop())
        folder = waiting.pop()
        try:
            found = (root / folder).stat()
            if (found.st_dev, found.st_ino) in listed:
                aside.add("links to what is listed anyway", folder.removesuffix("/"))
                continue
            listed.add((found.st_dev, found.st_ino))
            with os.scandir(root / folder) as entries:
                inside = list(entries)
        except OSError as error:
            raise DataError(f"{root / folder} cannot be listed: {error.strerror}") from error
        if folder and leave_out and leave_out(root / folder, {entry.name for entry in inside}):
            aside.add("folders that vqvae2 wrote", folder.removesuffix("/"))
            continue
        for entry in inside:
            path = f"{folder}{entry.name}"
            if is_hidden(entry.name):
                aside.add("hidden files and folders", path)
                continue
            try:
                path.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{root} cannot be listed ({os.fsencode(entry.name)!r}); names must be UTF-8"
                ) from error
            if _is(entry.is_dir):
                if entry.name.startswith("__"):
                    aside.add("folders named __...", path)
                else:
                    (linked_folders if entry.is_symlink() else waiting).append(f"{path}/")
            elif not _is(entry.is_file):
                aside.add("links that lead nowhere" if entry.is_symlink() else "devices and pipes", path)
            elif entry.is_symlink():
                linked_files.append(path)
            else:
                yield path
    targets: set[str] = set()
    for path in sorted(linked_files):
        target = Path(os.path.realpath(root / path))
        above = target.parent.stat()
        if str(target) in targets or ((above.st_dev, above.st_ino) in listed and not is_hidden(target.name)):
            aside.add("links to what is listed anyway", path)
        else:
            targets.add(str(target))
            yield path


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, such as the `._NAME` that macOS adds."""
    return name.startswith(".") and name not in (".", "..")


def kind_of_file(name: str) -> str:
    """Say what kind of file this is, by its ending."""
    base = name.rpartition("/")[2]
    ending = base.rpartition(".")[2].lower()[:16]
    if ending in _OTHER_FORMATS:
        return f".{ending} files (convert these images to PNG or JPEG)"
    return f".{ending} files" if "." in base else "files without an ending"


def is_written_by_us(folder: Path, names: Collection[str]) -> bool:
    """Whether a command wrote this folder: a record or listing is among the names in it."""
    for name in (*_RECORDS, *_LISTINGS):
        if name not in names:
            continue
        try:
            with (folder / name).open("rb") as file:
                head = file.read(_HEAD_BYTES)
        except OSError:
            continue
        if (_IN_RECORDS if name in _RECORDS else _IN_LISTINGS) in head:
            return True
    return False


def _is(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError:  # a link that leads back to itself
        return False


def _begins_like_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return begins_like_image(file.read(16))
    except OSError:
        return True  # so that it is named when it cannot be read


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
