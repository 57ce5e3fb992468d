"""What the verbs share that write images into a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from vqvae2.cli.verb import Verb
from vqvae2.codec.bitstream import MAX_PIXELS
from vqvae2.config import Device
from vqvae2.errors import ConfigError, OutputError
from vqvae2.system.atomic import atomic_write_bytes

if TYPE_CHECKING:
    from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["TreeWriter", "Writer", "name_outputs"]


@dataclass(frozen=True, kw_only=True)
class _FolderWriter(Verb):
    """A verb that takes a pipeline and writes into a folder."""

    out: Path
    """A new or empty folder."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    force: bool = False
    """Replace the images that an earlier command left in that folder, and allow other files in it."""

    def check_is_new(self) -> None:
        """Refuse a folder that holds something, without `force`."""
        if self.out.exists() and (not self.out.is_dir() or (any(self.out.iterdir()) and not self.force)):
            raise OutputError(
                f"{self.out} must be a new or empty folder, but holds files; choose another, or use --force"
            )

    def load_pipeline(self, folder: Path) -> Pipeline:
        """Load a pipeline onto the chosen device."""
        from vqvae2.pipeline.pipeline import Pipeline
        from vqvae2.training.runtime import choose_device

        return Pipeline.from_pretrained(folder).to(choose_device(self.device))

    def refuse(self, name: str) -> OutputError:
        """Make the error for a file that is in the way."""
        return OutputError(f"{self.out} holds {name}, which no earlier command wrote; choose another folder")


@dataclass(frozen=True, kw_only=True)
class Writer(_FolderWriter):
    """A verb that takes a pipeline and writes numbered images, and a listing of them."""

    def check_out(self, listing: str) -> None:
        """Refuse a folder that holds something, before any work is done; `listing` marks what is ours."""
        self.check_is_new()
        in_the_way = sorted(path.name for path in self._images())
        if in_the_way and not (self.out / listing).exists():
            raise self.refuse(in_the_way[0])

    def make_out(self) -> None:
        """Make the folder, and clear it of an earlier command's images."""
        for path in self._images():
            path.unlink()
        self.out.mkdir(parents=True, exist_ok=True)

    def _images(self) -> list[Path]:
        return [*self.out.glob("[0-9]" * 6 + ".png"), *self.out.glob("grid.png")]


@dataclass(frozen=True, kw_only=True)
class TreeWriter(_FolderWriter):
    """A verb that takes a pipeline and writes files under given names, at any depth, and a listing of them.

    Only what a listing names is taken for ours, and that only where it has the ending and the size that we gave it,
    and lies in the folder itself: a listing that someone has altered leads nowhere else.
    """

    listing: ClassVar[str]
    """Name of the listing."""
    ending: ClassVar[str]
    """Of the files' names."""

    force: bool = False
    """Write into a folder that holds other files. They stay; what an earlier command wrote there is replaced where it
    has a name that is written again."""
    max_pixels: int = MAX_PIXELS
    """Leave larger images out, as padded to whole codes: it bounds memory and time."""

    def load_pipeline(self, folder: Path) -> Pipeline:
        """Load a pipeline onto the chosen device, whose codec takes images of up to `max_pixels`."""
        if self.max_pixels < 1:
            raise ConfigError(f"`max_pixels` must be above 0, got {self.max_pixels}")
        return replace(super().load_pipeline(folder), max_pixels=self.max_pixels)

    def check_out(self, names: Iterable[str]) -> None:
        """Refuse a folder in which files of these names would replace others, before any work is done."""
        self.check_is_new()
        ours = {self.out / row["file"] for row in self.earlier_rows()}
        paths = [PurePosixPath(name) for name in names]
        for inner in sorted({folder for path in paths for folder in path.parents}):
            folder = self.out / inner
            if inner.parts and (
                folder.is_symlink() or (folder.exists() and not folder.is_dir() and folder not in ours)
            ):
                raise self.refuse(str(inner))
        for path in paths:
            if os.path.lexists(self.out / path) and self.out / path not in ours:
                raise self.refuse(str(path))

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(path, data)

    def write_listing(self, values: dict[str, Any], earlier: Sequence[dict[str, Any]]) -> None:
        """Write the listing: `values`, whose `images` have each the name and size of a file, `file` and `bytes`.

        It goes before the files, so that a command that is killed leaves none that nobody knows.

        Args:
            values: What this command has to say.
            earlier: What `earlier_rows` gave before anything was written; what is still there stays in the listing.
        """
        written = {row["file"] for row in values["images"]}
        kept = [row for row in earlier if row["file"] not in written]
        self.write(self.listing, json.dumps(values | {"images": [*kept, *values["images"]]}, indent=2).encode())

    def complaint(self, source: Path, names: Sequence[str], reasons: Mapping[str, str], done: str) -> str:
        """Say in a line which of the files `names` in `source` cannot be `done`, and for what reason."""
        if source.is_file():
            return f"{source}: {reasons[names[0]]}"
        first = next(name for name in names if name in reasons)
        reason = f"cannot be {done}; {first}: {reasons[first]}"
        if len(reasons) == len(names):
            return f"all {len(names)} files in {source} {reason}"
        listing = self.out / self.listing
        return f"{len(reasons)} of {len(names)} files in {source} {reason}; all of them are named in {listing}"

    def earlier_rows(self) -> list[dict[str, Any]]:
        """Give what the listing says of files that an earlier command wrote and nobody has changed or removed since."""
        path = self.out / self.listing
        if not os.path.lexists(path):
            return []
        try:
            if path.is_symlink():
                raise ValueError("we write no links")
            rows = [row | {"file": str(row["file"])} for row in json.loads(path.read_bytes())["images"]]
            return [row for row in rows if self._is_ours(Path(row["file"]), row["bytes"])]
        except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
            raise self.refuse(self.listing) from error

    def _is_ours(self, name: Path, size: object) -> bool:
        if name.anchor or ".." in name.parts or name.suffix != self.ending:
            return False
        if any((self.out / inner).is_symlink() for inner in (name, *name.parents) if inner.parts):
            return False
        return (self.out / name).is_file() and (self.out / name).stat().st_size == size


def name_outputs(names: Sequence[str], ending: str, *, without: str | None = None) -> dict[str, str]:
    """Name a file for each of `names`, in the same folder: with another ending, or an added one where two would clash.

    Args:
        names: Paths with forward slashes.
        ending: Of the new names, with its dot.
        without: The only ending that is dropped, in any case; None for whatever ending there is.
    """

    def shortened(name: str) -> str:
        suffix = PurePosixPath(name).suffix
        return name.removesuffix(suffix) if without is None or suffix.lower() == without else name

    outputs = {name: shortened(name) + ending for name in names}
    while True:
        users: dict[str, list[str]] = {}
        for name, output in outputs.items():
            users.setdefault(output.casefold(), []).append(name)  # some file systems take no notice of case
        clashing = [name for group in users.values() if len(group) > 1 for name in group]
        longer = {name: name + ending for name in clashing}
        if outputs == outputs | longer:
            return outputs
        outputs |= longer
