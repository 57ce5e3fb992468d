"""Folders that a command writes into: what may be written there, and what an earlier command left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vqvae2.cli.writer import read_image
from vqvae2.errors import DataError, OutputError
from vqvae2.system.files import atomic_write_bytes

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FileTree", "Pictures", "name_outputs"]


@dataclass
class _Output:
    """A folder, and the listing in it that marks its files as ours."""

    out: Path
    listing: str
    """Name of the listing."""
    force: bool
    """Whether the folder may hold other files, and files of an earlier command are replaced."""

    def require_new(self) -> None:
        """Refuse a folder that holds something, unless `force` allows it."""
        if self.out.exists() and (not self.out.is_dir() or (any(self.out.iterdir()) and not self.force)):
            raise OutputError(
                f"{self.out} must be a new or empty folder, but holds files; choose another, or use --force"
            )

    def in_the_way(self, name: str) -> OutputError:
        """Make the error about a file that no command wrote."""
        return OutputError(f"{self.out} holds {name}, which no earlier command wrote; choose another folder")


@dataclass
class Pictures(_Output):
    """Numbered PNG files; a listing beside them says where they come from."""

    rows: list[dict[str, str]] = field(default_factory=list)
    """The file of each picture, and the original's."""
    skipped: list[dict[str, str]] = field(default_factory=list)

    def check(self) -> None:
        """Refuse a folder that holds something, before any work is done."""
        self.require_new()
        names = sorted(path.name for path in self._earlier())
        if names and not (self.out / self.listing).exists():
            raise self.in_the_way(names[0])

    def clear(self) -> None:
        """Make the folder, and remove an earlier command's pictures from it."""
        for path in self._earlier():
            path.unlink()
        self.out.mkdir(parents=True, exist_ok=True)

    def read(self, folder: Path, names: Sequence[str], **options: Any) -> Iterator[tuple[int, str, np.ndarray]]:
        """Yield the number, the name and the pixels `(H, W, C)` of each image that can be read, and note the others."""
        for index, name in enumerate(names):
            try:
                pixels = read_image(folder / name, **options)
            except DataError as problem:
                self.skipped.append({"file": name, "reason": str(problem)})
            else:
                yield index, name, pixels

    def save(self, index: int, original: str, pixels: np.ndarray) -> None:
        """Write the picture `(H, W, C)` of an original; the first one clears the folder."""
        from vqvae2.images import save_png

        if not self.rows:
            self.clear()
        name = f"{index:06d}.png"
        save_png(pixels, self.out / name)
        self.rows.append({"file": name, "original": original})

    def finish(self, source: Path, facts: Mapping[str, object]) -> None:
        """Write the listing: `facts`, the pictures, and the files of `source` that were skipped; refuse if all were."""
        if not self.rows:
            subject = source if source.is_file() else f"none of the {len(self.skipped)} images in {source} can be read"
            raise DataError(f"{subject}: {self.skipped[0]['reason']}")
        listing = {**facts, "images": self.rows, "skipped": self.skipped}
        (self.out / self.listing).write_text(json.dumps(listing, indent=2, default=str))

    @property
    def results(self) -> dict[str, object]:
        """What was written and skipped, for the user."""
        skipped = {"skipped": self.skipped} if self.skipped else {}
        return {"out": self.out, "images": len(self.rows)} | skipped

    def _earlier(self) -> list[Path]:
        return [*self.out.glob("[0-9]" * 6 + ".png"), *self.out.glob("grid.png")]


@dataclass
class FileTree(_Output):
    """Files at any depth, one for each file of an input folder; a listing names them.

    Only a file that the listing names is ours, and only if it has the ending and the size that we gave it, and lies in
    the folder itself. So a listing that someone has altered leads nowhere else.
    """

    ending: str
    """Of the files' names."""
    outputs: Mapping[str, str]
    """The file to write for each name in the input folder."""
    failures: str
    """What the listing calls the names without a file."""
    facts: dict[str, object] = field(default_factory=dict)
    """What else the listing says."""
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the listing says of the file of each name; `bytes` is its size."""
    failed: dict[str, str] = field(default_factory=dict)
    """The reason why a name has no file."""

    def check(self) -> None:
        """Refuse a folder in which a file would replace one that is not ours, before any work is done."""
        self.require_new()
        self._earlier = self._read_listing()
        ours = {self.out / row["file"] for row in self._earlier}
        paths = [PurePosixPath(name) for name in self.outputs.values()]
        for inner in sorted({folder for path in paths for folder in path.parents if folder.parts}):
            folder = self.out / inner
            if folder.is_symlink() or (folder.exists() and not folder.is_dir() and folder not in ours):
                raise self.in_the_way(str(inner))
        for path in paths:
            if os.path.lexists(self.out / path) and self.out / path not in ours:
                raise self.in_the_way(str(path))

    def write(self, files: Mapping[str, tuple[Mapping[str, object], bytes]]) -> None:
        """Write some files, each whole or not at all: by input name, what the listing says of it, and its bytes.

        The listing goes first, so that a command that is killed leaves no file that is not listed.
        """
        if not files:
            return
        for name, (row, data) in files.items():
            self.rows[name] = {"file": self.outputs[name], "original": name, **row, "bytes": len(data)}
        self._write_listing()
        for name, (_, data) in files.items():
            self._write(self.outputs[name], data)

    def finish(self, source: Path, done: str) -> None:
        """Raise a `DataError` with the first reason if a file in `source`, a folder or file, could not be `done`."""
        if not self.failed:
            return
        if self.rows:
            self._write_listing()
        name = next(name for name in self.outputs if name in self.failed)
        if source.is_file():
            raise DataError(f"{source}: {self.failed[name]}")
        reason = f"files in {source} cannot be {done}; {name}: {self.failed[name]}"
        if not self.rows:
            raise DataError(f"all {len(self.outputs)} {reason}")
        listing = self.out / self.listing
        raise DataError(f"{len(self.failed)} of {len(self.outputs)} {reason}; {listing} names all of them")

    def _write_listing(self) -> None:
        """Name the files of this command, and those of earlier ones that are still there."""
        written = {row["file"] for row in self.rows.values()}
        images = [row for row in self._earlier if row["file"] not in written]
        images += [self.rows[name] for name in self.outputs if name in self.rows]
        failures = [{"file": name, "reason": self.failed[name]} for name in self.outputs if name in self.failed]
        listing = {**self.facts, "images": images, self.failures: failures}
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
            rows = [row | {"file": str(row["file"])} for row in json.loads(path.read_bytes())["images"]]
            return [row for row in rows if self._is_ours(Path(row["file"]), row["bytes"])]
        except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
            raise self.in_the_way(self.listing) from error

    def _is_ours(self, name: Path, size: object) -> bool:
        if name.anchor or ".." in name.parts or name.suffix != self.ending:
            return False
        if any((self.out / inner).is_symlink() for inner in (name, *name.parents) if inner.parts):
            return False
        return (self.out / name).is_file() and (self.out / name).stat().st_size == size


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
