"""Who is told what a run does."""

from __future__ import annotations

from typing import Protocol

from vqvae2.training.task import Progress

__all__ = ["Listener", "Silence"]


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
