"""Who is told what a run does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Listener", "OnProgress", "Progress", "Silence"]


@dataclass(frozen=True)
class Progress:
    """Where a long stage is; handed to a callback."""

    done: int
    total: int
    unit: str
    metrics: dict[str, float] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


class Listener(Protocol):
    """Is told what a run does."""

    def stage(self, name: str, note: str) -> None:
        """A stage begins, or is skipped; the note says how."""
        ...

    def progress(self, progress: Progress) -> None:
        """The stage goes on."""
        ...

    def say(self, text: str) -> None:
        """Something that the user should know."""
        ...


class Silence:
    """A listener that does nothing."""

    def stage(self, name: str, note: str) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        pass

    def say(self, text: str) -> None:
        pass
