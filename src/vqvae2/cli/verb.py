"""What all verbs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from vqvae2.cli.console import Terminal
from vqvae2.config import Config

__all__ = ["Results", "Verb"]

Results = Mapping[str, object] | Config | None
"""What a verb prints: values that `json` can write, and paths."""


@dataclass(frozen=True, kw_only=True)
class Verb(ABC):
    """A verb of the command; its fields are the flags, and their docstrings the help texts."""

    is_shared: ClassVar[bool] = False
    """Whether several processes share the work; otherwise the first one does it."""
    json: bool = False
    """Print the results as JSON."""

    @property
    def held(self) -> Path | None:
        """The folder in which no other command may be at work meanwhile."""
        return None

    @abstractmethod
    def run(self, terminal: Terminal) -> Results:
        """Do the work; return what goes to stdout."""

    def with_defaults(self) -> Self:
        """Return the defaults of a second parse, which may depend on what the first one found."""
        return self
