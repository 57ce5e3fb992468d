"""How a run reports what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Listener", "OnProgress", "Progress"]


@dataclass(frozen=True)
class Progress:
    """How far a long stage has come."""

    done: int
    total: int
    unit: str
    metrics: dict[str, float] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


class Listener:
    """Receives the reports of a run. This one ignores them."""

    def stage(self, name: str, note: str) -> None:
        """Report that a stage begins or is skipped; the note says which."""

    def progress(self, progress: Progress) -> None:
        """Report how far the stage has come."""

    def say(self, text: str) -> None:
        """Tell the user something."""
