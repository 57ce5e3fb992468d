"""Counts what a source of images does not use, so that nothing is passed over silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["LeftAside", "counted"]

_MOST_KINDS = 12


class LeftAside:
    """Counts files by the reason why they are not used, and keeps an example of each reason."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count a file, or several; `reason` tells what kind of files they are, in words."""
        self._counts[reason] = self._counts.get(reason, 0) + count
        self._examples.setdefault(reason, name)

    def add_unused(self, reason: str, names: Sequence[str], used: Iterable[int]) -> None:
        """Count all names but those whose numbers are used."""
        for index in sorted(set(range(len(names))).difference(used)):
            self.add(reason, names[index])

    def merge(self, others: Iterable[LeftAside]) -> None:
        """Add what others counted."""
        for other in others:
            for reason, count in other._counts.items():
                self.add(reason, other._examples[reason], count)

    def to_dict(self) -> dict[str, str]:
        """Return the count and an example of each reason, most first, as text."""
        ordered = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        texts = {name: f"{self._counts[name]}, such as {self._examples[name]}" for name in ordered[:_MOST_KINDS]}
        rest = ordered[_MOST_KINDS:]
        if rest:
            texts["others"] = f"{sum(self._counts[name] for name in rest)}, of {len(rest)} kinds"
        return texts


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"
