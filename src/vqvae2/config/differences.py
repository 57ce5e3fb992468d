"""What differs between two configs."""

from __future__ import annotations

from typing import Any

__all__ = ["first_difference"]


def first_difference(old: Any, new: Any, path: str = "") -> str | None:
    """Name the first field that differs, with both values; None if none does."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(f"{path}.{name}" if path else name, old[name], new[name]) for name in old]
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        pairs = [(f"{path}.{index}", before, after) for index, (before, after) in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else f"`{path}` is {old!r}, asked for {new!r}"
    differences = (first_difference(before, after, name) for name, before, after in pairs)
    return next((difference for difference in differences if difference is not None), None)
