"""What all configs share."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vqvae2.errors import ConfigError

__all__ = [
    "MAX_LAYERS",
    "MAX_LEVELS",
    "Config",
    "require",
    "require_at_most",
    "require_below_one",
    "require_not_negative",
    "require_positive",
]

MAX_LAYERS = 256
"""Of the same kind in a network, so that a file's config cannot ask for one that takes minutes to lay out. The paper's
networks have 20."""
MAX_LEVELS = 16
"""Of a hierarchy; each level above the bottom halves its sides at least."""


class Config:
    """Base of all configs: dictionaries out, strictly checked dictionaries in."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries that `json` can write."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build the config from what `to_dict` returned.

        Raises:
            ConfigError: If a key is unknown, missing or of the wrong type, or a value cannot be used; for any `values`
                whatever.
        """
        try:  # through JSON, since only there may an array stand for a tuple in strict mode
            config: Self = _adapter(cls).validate_json(json.dumps(values))  # type: ignore[arg-type]  # classes hash
            return config
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise ConfigError(
                f"`{where}` of {cls.__name__}: {first['msg'].removeprefix('Value error, ')}, "
                f"got {_shorten(repr(first['input']))}"
            ) from error
        except (TypeError, ValueError, RecursionError) as error:  # of `json`: a set, a circle, a tower of lists
            raise ConfigError(f"{cls.__name__} must be dictionaries as `to_dict` gives them: {error}") from error


@functools.cache
def _adapter(config: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(config)


def _shorten(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def require(condition: bool, message: str) -> None:
    """Raise a `ConfigError` with the message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_positive(config: Any, *names: str) -> None:
    """Require that the fields of these names are above 0."""
    for name in names:
        require(getattr(config, name) > 0, f"`{name}` must be above 0, got {getattr(config, name)}")


def require_not_negative(config: Any, *names: str) -> None:
    """Require that the fields of these names are at least 0."""
    for name in names:
        require(getattr(config, name) >= 0, f"`{name}` must be at least 0, got {getattr(config, name)}")


def require_below_one(config: Any, *names: str) -> None:
    """Require that the fields of these names are at least 0 and below 1."""
    for name in names:
        require(0 <= getattr(config, name) < 1, f"`{name}` must be in 0..1, 1 excluded, got {getattr(config, name)}")


def require_at_most(config: Any, highest: int, *names: str) -> None:
    """Require that the fields of these names are at most so high."""
    for name in names:
        require(getattr(config, name) <= highest, f"`{name}` must be at most {highest}, got {getattr(config, name)}")
