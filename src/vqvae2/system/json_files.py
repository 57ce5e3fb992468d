"""JSON that may come from others, alone or at the head of safetensors: read, or refused before it costs memory."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["MAX_JSON_BYTES", "read_json", "require_small_header"]

MAX_JSON_BYTES = 2 * 2**20
"""Of a config or a record, which grow at most with the number of classes."""

_MAX_HEADER_BYTES = 4 * 2**20  # ten times what a thousand layers need


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES, allow_nan: bool = False) -> Any:
    """Parse a JSON file.

    The values take up to some 40 times the memory of their text, as nested lists do.

    Args:
        path: The file; a link is followed.
        max_bytes: Largest size that is read.
        allow_nan: Accept NaN and the infinities, which Python writes though JSON lacks them.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it cannot be read, or is not a regular file: a pipe, for example, might never end.
        ValueError: If it is larger, not JSON in UTF-8, or nested too deeply.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # before it is opened: a pipe would wait for its writer
        raise OSError(f"{path} is not a regular file")
    if found.st_size > max_bytes:
        raise ValueError(f"it is larger than {max_bytes} bytes")
    with path.open("rb") as file:
        data = file.read(max_bytes)
    try:
        return json.loads(data.decode(), parse_constant=None if allow_nan else _refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def require_small_header(path: Path) -> None:
    """Refuse a safetensors file whose JSON header claims to be huge; the format allows 100 MB.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the header is too large.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {size} bytes, and at most {_MAX_HEADER_BYTES} are read")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
