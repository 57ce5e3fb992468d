"""A folder of drawn images, in which drawing resumes after it was stopped."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.cli.output_folder import in_the_way, require_new
from vqvae2.errors import OutputError
from vqvae2.images import decode_image, image_grid, save_png
from vqvae2.pipeline.sample_streams import Candidate, DrawnSample
from vqvae2.system.files import atomic_write_bytes, remove_leftovers
from vqvae2.system.processes import first_decides, is_first_process

__all__ = ["SampleFolder"]

_LISTING = "samples.json"
_PICTURES = "[0-9]" * 6 + ".png"
_MOST_IN_GRID = 64
_SAVING_SHARE = 0.05  # of the time, to bring the listing up to date


class SampleFolder:
    """Numbered images and their listing.

    The listing is brought up to date from time to time, always between two batches, with the images kept so far; images
    that are no longer kept are removed after that. So everything it lists is there, whenever the process ends.
    Only the first process writes; all of them know the same.

    Args:
        out: The folder; made when the first image comes.
        request: Plain values that say what is drawn. In a folder of the same request, drawing resumes.
    """

    def __init__(self, out: Path, request: Mapping[str, object]) -> None:
        self.out = out
        self._request = json.loads(json.dumps(request))
        self.rows: dict[int, dict[str, Any]] = {}
        """What the listing says of each image, by its number."""
        self.num_drawn = 0
        """Images drawn and judged, in whole batches."""
        self.is_complete = False
        self._displaced: list[str] = []
        self._save_from = 0.0
        self._batch: int | None = None

    def open(self, *, force: bool) -> None:
        """Take what a folder of the same request holds; otherwise clear it, if nothing in it is lost by that.

        Args:
            force: Draw everything anew, and allow other files in the folder.

        Raises:
            OutputError: If the folder holds something else, or lacks an image that its listing has.
        """
        rows, self.num_drawn, self.is_complete = first_decides(lambda: self._take(force=force))
        self.rows = {row["image"]: row for row in rows}

    def candidates(self) -> list[Candidate]:
        """Return the images that are kept, with class and score."""
        names = self._request["classes"]
        return [Candidate(row["image"], names.index(row["class"]), row["score"]) for row in self.rows.values()]

    def add(self, sample: DrawnSample, *, class_name: str | None, batch_size: int) -> None:
        """Keep an image, and give up the one that it displaces."""
        start = (sample.num_drawn - 1) // batch_size * batch_size
        if start != self._batch and time.perf_counter() > self._save_from:
            self.num_drawn = start
            self._save()  # the first time, it marks the folder as ours
        self._batch = start
        if sample.displaced is not None:
            self._displaced.append(self.rows.pop(sample.displaced)["file"])
        name = f"{sample.number:06d}.png"
        if is_first_process():
            save_png(sample.pixels.numpy(), self.out / name)
        row: dict[str, Any] = {"file": name, "image": sample.number, "class": class_name}
        self.rows[sample.number] = row if sample.score is None else row | {"score": sample.score}

    def finish(self, num_drawn: int) -> None:
        """Write the listing and a grid of the first images."""
        self.num_drawn, self.is_complete = num_drawn, True
        self._save()
        if not is_first_process():
            return
        options = {name: self._request[name] for name in ("channels", "bit_depth")}
        files = [self.out / self.rows[number]["file"] for number in sorted(self.rows)[:_MOST_IN_GRID]]
        shown = np.stack([decode_image(file.read_bytes(), **options) for file in files])
        save_png(image_grid(shown, columns=math.ceil(math.sqrt(len(shown)))), self.out / "grid.png")

    def _save(self) -> None:
        start = time.perf_counter()
        if is_first_process():
            listing = {
                "request": self._request,
                "is_complete": self.is_complete,
                "num_drawn": self.num_drawn,
                "acceptance_rate": len(self.rows) / self.num_drawn if self.num_drawn else None,
                "images": [self.rows[number] for number in sorted(self.rows)],
            }
            self.out.mkdir(parents=True, exist_ok=True)
            atomic_write_bytes(self.out / _LISTING, json.dumps(listing, indent=2).encode())
            for name in self._displaced:
                (self.out / name).unlink()
        self._displaced = []
        now = time.perf_counter()
        self._save_from = now + (now - start) / _SAVING_SHARE

    def _take(self, *, force: bool) -> tuple[list[dict[str, Any]], int, bool]:
        """Return what the listing says; of a new folder, nothing."""
        remove_leftovers(self.out, _LISTING)
        listing = None if force else self._read()
        if listing is None or listing["request"] != self._request:
            require_new(self.out, force=force)
            pictures = sorted([*self.out.glob(_PICTURES), *self.out.glob("grid.png")])
            if pictures and not (self.out / _LISTING).exists():
                raise in_the_way(self.out, pictures[0].name)
            for path in (self.out / _LISTING, *pictures):
                path.unlink(missing_ok=True)
            return [], 0, False
        files = {f"{row['image']:06d}.png" for row in listing["images"]}
        there = {path.name for path in self.out.glob(_PICTURES)}
        if files - there:
            raise OutputError(
                f"{self.out} lacks {min(files - there)}, which {_LISTING} has; use --force to draw everything anew"
            )
        for name in there - files:
            (self.out / name).unlink()
        return listing["images"], listing["num_drawn"], listing["is_complete"]

    def _read(self) -> dict[str, Any] | None:
        try:
            listing: dict[str, Any] = json.loads((self.out / _LISTING).read_text())
            known = {"request", "is_complete", "num_drawn", "images"} <= listing.keys()
        except (OSError, ValueError, AttributeError):
            return None
        return listing if known else None
