"""Keeping a second command out of a folder in which one is at work."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from vqvae2.errors import OutputError

__all__ = ["hold_folder"]


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, which need not exist, by two hidden files beside it.

    The system lets go of it when the process ends, however it ends. Nothing is held where no file may be written
    beside the folder, as where it is all that a container may write to.

    Raises:
        OutputError: If another process holds it, which is named.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(folder.parent, os.W_OK):
        yield
        return
    lock, holder = (folder.with_name(f".{folder.name}.{end}") for end in ("lock", "held"))
    try:
        with FileLock(lock, blocking=False):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
                with suppress(PermissionError):  # of Windows, where a file that is open stays
                    lock.unlink(missing_ok=True)
    except Timeout as error:
        raise OutputError(f"{folder} is in use by {_describe(holder)}; wait until it ends, or stop it") from error


def _describe(holder: Path) -> str:
    try:
        since = datetime.fromtimestamp(holder.stat().st_mtime).astimezone()
        return f"{holder.read_text(encoding='utf-8')} since {since:%Y-%m-%d %H:%M}"
    except OSError:  # it has begun or ended just now
        return "another process"
