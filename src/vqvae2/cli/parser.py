"""Parse options, and say in the user's words what is wrong with a value."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from vqvae2.errors import ConfigError

__all__ = ["parse"]

_IN_WORDS = {"INT": "a whole number", "FLOAT": "a number"}


def parse(kind: Any, **options: Any) -> Any:
    """Call `tyro.cli`, whose own messages name Python's types and our attributes.

    Raises:
        ConfigError: If a config refuses its values, with the names of the options, such as `priors.0.num_layers`.
        SystemExit: If the command line cannot be understood, or asks for help.
    """
    told = StringIO()
    try:
        with _plain_values(), redirect_stderr(told):
            return tyro.cli(kind, **options)
    except SystemExit as exit_:
        refusal = exit_.__context__ and exit_.__context__.__context__
        place = re.search(r"Error parsing (?:config\.)?([\w.]+):", told.getvalue())
        if isinstance(refusal, ConfigError) and place:
            reason = str(refusal)
            is_named = reason.startswith("`")
            raise ConfigError(f"`{place[1]}.{reason[1:]}" if is_named else f"in `{place[1]}`, {reason}") from None
        sys.stderr.write(told.getvalue())
        raise


def _plain_values() -> ConstructorRegistry:
    """Read values as tyro does; of one that cannot be read, say what was wanted and what came."""
    registry, is_asking_tyro = ConstructorRegistry(), False

    @registry.primitive_rule
    def plain(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
        nonlocal is_asking_tyro
        if is_asking_tyro:
            return None
        is_asking_tyro = True
        try:
            spec = ConstructorRegistry.get_primitive_spec(info)
        finally:
            is_asking_tyro = False
        if isinstance(spec, UnsupportedTypeAnnotationError):
            return spec
        # Without `choices`, which tyro checks in words of its own: the values are looked up among them anyway.
        return replace(spec, choices=None, instance_from_str=_telling(spec.instance_from_str, spec.metavar))

    return registry


def _telling(read: Callable[[list[str]], Any], form: str) -> Callable[[list[str]], Any]:
    def read_or_tell(words: list[str]) -> Any:
        try:
            return read(words)
        except (ValueError, TypeError):
            wanted = _IN_WORDS.get(form, f"of the form {form}")
            raise ValueError(f"must be {wanted}, got {' '.join(words)!r}") from None

    return read_or_tell
