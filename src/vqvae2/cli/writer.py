"""What the verbs share that write images into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vqvae2.cli.stages import Verb
from vqvae2.config import Device
from vqvae2.device import choose_device
from vqvae2.errors import OutputError
from vqvae2.pipeline import Pipeline

__all__ = ["Writer"]


@dataclass(frozen=True, kw_only=True)
class Writer(Verb):
    """A verb that takes a pipeline and writes numbered images, and a listing of them."""

    out: Path
    """A new or empty folder."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    force: bool = False
    """Replace the images that an earlier command left in that folder, and allow other files in it."""

    def check_out(self, listing: str) -> None:
        """Refuse a folder that holds something, before any work is done; `listing` marks what is ours."""
        if not self.out.exists():
            return
        if not self.out.is_dir() or (any(self.out.iterdir()) and not self.force):
            raise OutputError(
                f"{self.out} must be a new or empty folder, but holds files; choose another, or use --force"
            )
        in_the_way = sorted(path.name for path in self._images())
        if in_the_way and not (self.out / listing).exists():
            raise OutputError(
                f"{self.out} holds {in_the_way[0]}, which no earlier command wrote; choose another folder"
            )

    def make_out(self) -> None:
        """Make the folder, and clear it of an earlier command's images."""
        for path in self._images():
            path.unlink()
        self.out.mkdir(parents=True, exist_ok=True)

    def load_pipeline(self, folder: Path) -> Pipeline:
        """Load a pipeline onto the chosen device."""
        return Pipeline.from_pretrained(folder).to(choose_device(self.device))

    def _images(self) -> list[Path]:
        return [*self.out.glob("[0-9]" * 6 + ".png"), *self.out.glob("grid.png")]
