"""Folders that a command writes into: what may be written there, and what an earlier command left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import vqvae2
from vqvae2.errors import DataError, OutputError
from vqvae2.system.files import atomic_write_bytes

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OutputFolder", "in_the_way", "name_outputs", "read_bytes", "read_image", "require_new"]


@dataclass
class OutputFolder:
    """Files at any depth, one for each file of an input folder; a listing names them.

    Only a file that the listing names is ours, and only if it has the ending and the size that we gave it, and lies in
    the folder itself. So a listing that someone has altered leads nowhere else.
    """

    out: Path
    listing: str
    """Name of the listing."""
    force: bool
    """Whether the folder may hold other files, and files of an earlier command are replaced."""
    ending: str
    """Of the files' names."""
    outputs: Mapping[str, str]
    """The file to write for each name in the input folder."""
    failures: str = "skipped"
    """What the listing calls the names without a file."""
    clears: bool = False
    """Whether the first file that is written removes all files of an earlier command, not just those it replaces."""
    facts: dict[str, object] = field(default_factory=dict)
    """What else the listing says."""
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the listing says of the file of each name; `bytes` is its size."""
    failed: dict[str, str] = field(default_factory=dict)
    """The reason why a name has no file."""

    def check(self) -> None:
        """Refuse a folder in which a file would replace one that is not ours, before any work is done."""
        require_new(self.out, force=self.force)
        self._earlier = self._read_listing()
        ours = {self.out / row["file"] for row in self._earlier}
        paths = [PurePosixPath(name) for name in self.outputs.values()]
        for inner in sorted({folder for path in paths for folder in path.parents if folder.parts}):
            folder = self.out / inner
            if folder.is_symlink() or (folder.exists() and not folder.is_dir() and folder not in ours):
                raise in_the_way(self.out, str(inner))
        for path in paths:
            if os.path.lexists(self.out / path) and self.out / path not in ours:
                raise in_the_way(self.out, str(path))

    def read(self, folder: Path, names: Iterable[str], **options: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the pixels `(H, W, C)` of each image that can be read, and note why others cannot."""
        for name in names:
            try:
                yield name, read_image(folder / name, **options)
            except DataError as problem:
                self.failed[name] = str(problem)

    def write(self, files: Mapping[str, tuple[Mapping[str, object], bytes]]) -> None:
        """Write some files, each whole or not at all: by input name, what the listing says of it, and its bytes.

        The listing goes first, so that a command that is killed leaves no file that is not listed.
        """
        if not files:
            return
        if self.clears and not self.rows:
            for earlier in self._earlier:
                (self.out / earlier["file"]).unlink(missing_ok=True)
            self._earlier = []
        for name, (row, data) in files.items():
            self.rows[name] = {"file": self.outputs[name], "original": name, **row, "bytes": len(data)}
        self._write_listing()
        for name, (_, data) in files.items():
            self._write(self.outputs[name], data)

    def finish(self, source: Path, done: str, *, may_skip: bool = False) -> dict[str, object]:
        """Write the listing; return what was written, for the user.

        Args:
            source: The folder of the input files, or the only file.
            done: What could not be done with files that failed, in words.
            may_skip: Whether some files may have failed.

        Raises:
            DataError: If files failed, with the first reason.
        """
        if self.rows:
            self._write_listing()
        failures = self._failures()
        if self.failed and not (may_skip and self.rows):
            name, reason = failures[0].values()
            if source.is_file():
                raise DataError(f"{source}: {reason}")
            problem = f"files in {source} cannot be {done}; {name}: {reason}"
            if not self.rows:
                raise DataError(f"all {len(self.outputs)} {problem}")
            listing = self.out / self.listing
            raise DataError(f"{len(failures)} of {len(self.outputs)} {problem}; {listing} names all of them")
        return {"out": self.out, "images": len(self.rows)} | ({self.failures: failures} if failures else {})

    def _failures(self) -> list[dict[str, str]]:
        return [{"file": name, "reason": self.failed[name]} for name in self.outputs if name in self.failed]

    def _write_listing(self) -> None:
        """Name the files of this command, and those of earlier ones that are still there."""
        written = {row["file"] for row in self.rows.values()}
        images = [row for row in self._earlier if row["file"] not in written]
        images += [self.rows[name] for name in self.outputs if name in self.rows]
        listing = {**self.facts, "images": images, self.failures: self._failures()}
        self._write(self.listing, json.dumps(listing, indent=2, default=str).encode())

    def _write(self, name: str, data: bytes) -> None:
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(path, data)

    def _read_listing(self) -> list[dict[str, Any]]:
        """Read what the listing says of files that an earlier command wrote and nobody has changed since."""
        path = self.out / self.listing
        if not os.path.lexists(path):
            return []
        try:
            if path.is_symlink():
                raise ValueError("we write no links")
            rows: list[dict[str, Any]] = json.loads(path.read_bytes())["images"]
            # Listings of pictures did not record sizes at first.
            return [row for row in rows if self._is_ours(Path(row["file"]), row.get("bytes"))]
        except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
            raise in_the_way(self.out, self.listing) from error

    def _is_ours(self, name: Path, size: int | None) -> bool:
        if name.anchor or ".." in name.parts or name.suffix != self.ending:
            return False
        if any((self.out / inner).is_symlink() for inner in (name, *name.parents) if inner.parts):
            return False
        path = self.out / name
        return path.is_file() and size in (None, path.stat().st_size)


def require_new(out: Path, *, force: bool) -> None:
    """Refuse a folder that holds something, unless `force` allows it."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not force)):
        raise OutputError(f"{out} must be a new or empty folder, but holds files; choose another, or use --force")


def in_the_way(out: Path, name: str) -> OutputError:
    """Make the error about a file that no command wrote."""
    return OutputError(f"{out} holds {name}, which no earlier command wrote; choose another folder")


def name_outputs(names: Sequence[str], ending: str, *, without: str | None = None) -> dict[str, str]:
    """Name a file for each of `names`, in the same folder: with another ending, or an added one if two would clash.

    Args:
        names: Paths with forward slashes.
        ending: The ending of the new names, with its dot.
        without: The only ending to drop, in upper or lower case; None drops any.
    """

    def shortened(name: str) -> str:
        suffix = PurePosixPath(name).suffix
        return name.removesuffix(suffix) if without is None or suffix.lower() == without else name

    outputs = {name: shortened(name) + ending for name in names}
    while True:
        users: dict[str, list[str]] = {}
        for name, output in outputs.items():
            users.setdefault(output.casefold(), []).append(name)  # some file systems ignore case
        clashing = [name for group in users.values() if len(group) > 1 for name in group]
        longer = {name: name + ending for name in clashing}
        if outputs == outputs | longer:
            return outputs
        outputs |= longer


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        DataError: If that is not possible.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}") from error


def read_image(path: Path, **options: Any) -> np.ndarray:
    """Read an image file, see `vqvae2.images.decode_image` for the options.

    Raises:
        DataError: If that is not possible.
    """
    return vqvae2.decode_image(read_bytes(path), **options)
