"""Who is told what a run does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Listener", "OnProgress", "Progress", "Silence", "batch_progress", "part_progress"]


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


def batch_progress(listener: Listener, *, before: int, count: int, num_images: int) -> Callable[[int, int], None]:
    """Make a callback `(done, total)` that reports the codes of one batch of images as a part of those of all.

    Args:
        listener: Is told.
        before: Images that are done.
        count: Images of this batch.
        num_images: Of all batches.
    """

    def report(done: int, total: int) -> None:
        codes_an_image = total // count
        listener.progress(Progress(before * codes_an_image + done, num_images * codes_an_image, "codes"))

    return report


def part_progress(listener: Listener, *, before: int, share: int, total: int, unit: str) -> Callable[[int, int], None]:
    """Make a callback `(done, total)` that reports a part of some work as its share of the whole.

    Args:
        listener: Is told.
        before: What of the whole is done before this part.
        share: What this part is of it, however much work it takes.
        total: The whole.
        unit: What is counted.
    """

    def report(done: int, part_total: int) -> None:
        listener.progress(Progress(before + share * done // part_total, total, unit))

    return report
