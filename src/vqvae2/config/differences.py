"""What differs between the config that a folder was begun with and the one that is asked for now."""

from collections.abc import Collection
from typing import Any

from vqvae2.config.base import Config
from vqvae2.errors import OutputError


def require_same_config(
    place: str,
    saved: Config | dict[str, Any],
    wanted: Config | dict[str, Any],
    *,
    may_change: Collection[str] = (),
    remedy: str = "choose another folder, or use --force to start anew",
) -> None:
    """Refuse to resume with another config than before.

    Args:
        place: What holds the saved config, such as "FOLDER holds a run".
        saved: The earlier config, or what JSON made of it, where tuples are lists.
        wanted: The config of now.
        may_change: Fields that may differ.
        remedy: What the caller can do besides asking for the same config.

    Raises:
        OutputError: If they differ, naming the first such field.
    """
    old, new = (config.to_dict() if isinstance(config, Config) else config for config in (saved, wanted))
    difference = _first_difference(old | dict.fromkeys(may_change), new | dict.fromkeys(may_change))
    if difference is not None:
        raise OutputError(f"{place} with another config ({difference}); ask for the same, {remedy}")


def _first_difference(old: Any, new: Any, path: str = "") -> str | None:
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(f"{path}.{key}".lstrip("."), old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        pairs = [(f"{path}.{index}", *values) for index, values in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else f"`{path}` is {old!r}, asked for {new!r}"
    differences = (_first_difference(before, after, name) for name, before, after in pairs)
    return next((difference for difference in differences if difference is not None), None)
