"""What all configs share: checks on construction, dictionaries out and in, and what differs between two of them."""

import dataclasses
import functools
import json
from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from vqvae2.errors import ConfigError, OutputError

MAX_LAYERS = 256
"""Layers of one kind in a network: more than ten times the paper's 20, few enough to build a model from any file in
seconds."""
MAX_LEVELS = 16
"""Levels of a hierarchy; each level has at most half the side of the one below."""

BelowOne = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
SharesAboveZero = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)]
Layers = Annotated[int, Field(ge=0, le=MAX_LAYERS)]

# What a check wanted, by pydantic's type of the error; its other messages say "Input should be ..." themselves.
_WANTED = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must hold {min_length} or more values",
    "too_long": "must hold {max_length} or fewer values",
    "dataclass_type": "must be a dictionary of fields, as `to_dict` returns it",
    "dict_type": "must be a config",
    "model_attributes_type": "must be a config",
    "union_tag_not_found": "must be a config with a `family`",
    "union_tag_invalid": "must be a config whose `family` is one of {expected_tags}",
}


class _ConfigType(type):
    """Raises `ConfigError` where pydantic refuses the arguments of a config."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ValidationError as error:
            raise _config_error(cls, error) from None


class Config(metaclass=_ConfigType):
    """Base of all configs, which are pydantic dataclasses: types are strict, and unknown fields are refused."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries that `json` can write."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build the config from what `to_dict` returned, or from what `json` made of it.

        Raises:
            ConfigError: If a key is unknown, missing or of the wrong type, or a value cannot be used. No `values`
                raise anything else.
        """
        try:  # through JSON: in strict mode, only a JSON array may stand for a tuple
            config: Self = _adapter(cls).validate_json(json.dumps(values))
            return config
        except ValidationError as error:
            raise _config_error(cls, error) from None
        except (TypeError, ValueError, RecursionError) as error:  # of `json`: a set, a circle, deep nesting
            raise ConfigError(f"{cls.__name__} must be a dictionary, as `to_dict` returns it: {error}") from error


@functools.cache
def _adapter(config: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(config)


def _config_error(config: type[Any], error: ValidationError) -> ConfigError:
    """Say in one line which field is wrong, what was wanted, and what came. The first error is told."""
    first = error.errors(include_url=False)[0]
    kind, place, got = first["type"], ".".join(map(str, first["loc"])), repr(first["input"])
    name = f"`{place}`" if place else config.__name__
    if kind == "missing":
        return ConfigError(f"{name} of {config.__name__} is missing")
    if kind == "unexpected_keyword_argument":
        return ConfigError(f"{name} is not a field of {config.__name__}")
    if kind in _WANTED:
        wanted = _WANTED[kind].format(**first.get("ctx", {}))
    else:
        wanted = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if wanted.startswith("`"):  # of `require`, which names field and value itself
        return ConfigError(f"in {name}, {wanted}" if place else wanted)
    return ConfigError(f"{name} {wanted}, got {got if len(got) <= 200 else got[:200] + '...'}")


def require(condition: bool, message: str) -> None:
    """Raise a `ConfigError` unless the condition holds, for checks that concern several fields."""
    if not condition:
        raise ConfigError(message)


def one_of(*values: int) -> AfterValidator:
    """Accept these numbers only; unlike a `Literal`, the type stays `int` for a type checker."""

    def check(value: int) -> int:
        if value not in values:
            raise ValueError(f"must be {', '.join(map(str, values[:-1]))} or {values[-1]}")
        return value

    return AfterValidator(check)


def require_same_config(
    place: str,
    saved: Config | dict[str, Any],
    wanted: Config | dict[str, Any],
    *,
    may_change: Collection[str] = (),
    remedy: str = "choose another folder, or use --force to start anew",
) -> None:
    """Refuse to resume with another config than the saved one, which may be as JSON has it, with lists for tuples.

    Fields of `may_change` may differ. An error begins with the `place`, such as "FOLDER holds a run", and ends with the
    `remedy`, what the caller can do besides asking for the same config.

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
