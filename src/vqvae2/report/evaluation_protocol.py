"""The protocol behind numbers of an evaluation, as words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqvae2.report.text import TIMES, folded, part, settings

__all__ = ["image_size", "image_size_words", "protocol"]


def protocol(values: Mapping[str, Any], of: str) -> str:
    """Fold the protocol of some numbers; nothing if there is none."""
    found = part(values, "protocol")
    return folded(f"Protocol of {of}", settings(found)) if found else ""


def image_size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    """Give height and width in pixels of the images behind some numbers; None if that is not told."""
    size = part(values, "protocol").get("image_size")
    if not isinstance(size, list | tuple) or len(size) != 2:
        return None
    height, width = size
    is_size = isinstance(height, int) and isinstance(width, int) and min(height, width) > 0
    return (height, width) if is_size else None


def image_size_words(values: Mapping[str, Any]) -> str:
    """Give the same as "64 x 64"."""
    size = image_size(values)
    return (
        "a size that is not told" if size is None else f"{size[0]}\N{NO-BREAK SPACE}{TIMES}\N{NO-BREAK SPACE}{size[1]}"
    )
