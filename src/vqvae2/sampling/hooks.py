"""Callbacks that follow a long drawing or coding while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from vqvae2.system.progress import Listener, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from vqvae2.codes import Codes

__all__ = ["DrawnFront", "Hooks"]


class DrawnFront(NamedTuple):
    """Images in the middle of being drawn."""

    codes: Codes
    """All levels of B images; a hidden code that is not drawn yet is 0."""
    level: int
    """The level that is being drawn, 0 the top; those above it are complete."""
    positions: Tensor
    """Where that level was visited so far: numbers in raster order, int64 `(m,)`, in the order of the visits."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What to call while images are drawn or coded. An exception that a hook raises ends the work."""

    on_progress: Callable[[int, int], None] | None = None
    """Receives the number of codes done so far, of all images together, and their total."""
    on_front: Callable[[DrawnFront], None] | None = None
    """Receives the codes after each front that is drawn, see `walk`."""

    @classmethod
    def for_listener(cls, listener: Listener, unit: str = "codes") -> Self:
        """Pass progress on to a listener."""
        return cls(on_progress=lambda done, total: listener.progress(Progress(done, total, unit)))

    def of_batch(self, *, before: int, num_images: int, total_images: int) -> Self:
        """Make the hooks of a batch of `num_images`, `before` images after the first of `total_images`.

        They report the codes of the batch as part of the codes of all images.
        """
        tell = self.on_progress
        if tell is None:
            return self

        def report(done: int, total: int) -> None:
            codes_per_image = total // num_images
            tell(before * codes_per_image + done, total_images * codes_per_image)

        return replace(self, on_progress=report)

    def of_part(self, *, before: int, share: int, total: int) -> Self:
        """Make the hooks of a part: `share` of `total`, however many steps it takes, with `before` done already."""
        tell = self.on_progress
        if tell is None:
            return self

        def report(done: int, part_total: int) -> None:
            tell(before + share * done // part_total, total)

        return replace(self, on_progress=report)
