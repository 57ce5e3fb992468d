"""How a run reports what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Listener", "OnProgress", "Progress", "Silence"]


@dataclass(frozen=True)
class Progress:
    """How far a long stage has come."""

    done: int
    total: int
    unit: str
    metrics: dict[str, float] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


class Listener(Protocol):
    """Receives the reports of a run."""

    def stage(self, name: str, note: str) -> None:
        """Report that a stage begins or is skipped; the note says which."""
        ...

    def progress(self, progress: Progress) -> None:
        """Report how far the stage has come."""
        ...

    def say(self, text: str) -> None:
        """Tell the user something."""
        ...


class Silence:
    """A listener that ignores all reports."""

    def stage(self, name: str, note: str) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        pass

    def say(self, text: str) -> None:
        pass
