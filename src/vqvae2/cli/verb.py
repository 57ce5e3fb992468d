"""What all verbs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal

__all__ = ["Verb"]


@dataclass(frozen=True, kw_only=True)
class Verb(ABC):
    """What all verbs share."""

    is_shared: ClassVar[bool] = False
    """Whether several processes share the work; else the first does it."""
    json: bool = False
    """Print results as JSON."""

    @abstractmethod
    def run(self, terminal: Terminal) -> dict[str, Any]:
        """Do the work; return what goes to stdout."""

    def with_defaults(self) -> Self:
        """Give the defaults of a second parse, which may depend on what the first one found."""
        return self
