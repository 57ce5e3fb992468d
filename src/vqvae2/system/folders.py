"""Folders that we share with the user: only files with known names are written or removed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from vqvae2.errors import OutputError

__all__ = ["claim_folder", "remove_entries"]


def remove_entries(directory: Path, entries: Sequence[str]) -> None:
    """Remove files and folders of these names, in this order, as far as they exist; everything else stays."""
    for path in (directory / name for name in entries):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def claim_folder(directory: Path, entries: Sequence[str], *, owner: str, force: bool) -> None:
    """Make a folder if it is missing, and make sure that what will be written there replaces nothing.

    Args:
        directory: The folder.
        entries: Names of everything that will be written into it.
        owner: Whose folder it will be, in words.
        force: Allow other files beside those entries.

    Raises:
        OutputError: If the folder holds other files, or files whose names are needed.
    """
    taken = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    if directory.is_file() or (taken and not force):
        raise OutputError(
            f"{directory} must be a new or empty folder, but holds files that are not of {owner}; "
            "choose another, or use --force to write beside them"
        )
    in_the_way = sorted(set(taken) & set(entries))
    if in_the_way:
        raise OutputError(f"{directory} holds {', '.join(in_the_way)}, which are not of {owner}; choose another folder")
    directory.mkdir(parents=True, exist_ok=True)
