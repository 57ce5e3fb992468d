"""A folder of drawn images, from which drawing goes on if it was stopped."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.errors import OutputError
from vqvae2.images import decode_image, image_grid, save_png
from vqvae2.pipeline.sample_streams import Candidate, DrawnSample
from vqvae2.system.atomic import atomic_write_bytes, remove_leftovers
from vqvae2.system.processes import first_decides, is_first_process

__all__ = ["LISTING", "SampleFolder"]

LISTING = "samples.json"
"""Name of the file that says what the images are."""

_MOST_IN_GRID = 64
_SAVING_SHARE = 0.05  # of the time that may be spent on bringing the listing up to date


class SampleFolder:
    """Numbered images and their listing.

    The listing is brought up to date now and then, always between two batches, with the images that are kept by then;
    images that are not kept any more are removed after that. So what it lists is there, whenever the process ends.
    Only the first process writes; all of them know the same.

    Args:
        out: The folder; made when the first image comes.
        request: Plain values that say what is drawn. A folder of the same request is gone on with.
    """

    def __init__(self, out: Path, request: dict[str, Any]) -> None:
        self.out = out
        self._request = json.loads(json.dumps(request))
        self.rows: dict[int, dict[str, Any]] = {}
        """What the listing says of each image, by its number."""
        self.num_drawn = 0
        """Images drawn and judged, in whole batches."""
        self.is_complete = False
        self._displaced: list[str] = []
        self._save_from = time.perf_counter()

    def can_go_on(self) -> bool:
        """Whether the folder is that of the same request; what a killed process left half written goes away."""
        remove_leftovers(self.out, LISTING)
        listing = self._read()
        return listing is not None and listing["request"] == self._request

    def go_on(self) -> None:
        """Take what the folder has, and remove images that its listing does not know.

        Raises:
            OutputError: If an image is missing that the listing has.
        """
        rows, self.num_drawn, self.is_complete = first_decides(self._take)
        self.rows = {row["image"]: row for row in rows}

    def candidates(self) -> list[Candidate]:
        """The images that are kept, with class and score."""
        names = self._request["classes"]
        return [Candidate(row["image"], names.index(row["class"]), row["score"]) for row in self.rows.values()]

    def add(self, sample: DrawnSample, *, class_name: str | None, batch_size: int) -> None:
        """Keep an image, and give up the one that it displaces."""
        start = (sample.num_drawn - 1) // batch_size * batch_size
        if start > self.num_drawn:
            self.num_drawn = start
            if time.perf_counter() > self._save_from:
                self._save(is_complete=False)
        if sample.displaced is not None:
            self._displaced.append(self.rows.pop(sample.displaced)["file"])
        name = f"{sample.number:06d}.png"
        if is_first_process():
            self.out.mkdir(parents=True, exist_ok=True)
            if not (self.out / LISTING).exists():  # by which the folder is known for ours
                self._write({}, num_drawn=0, is_complete=False)
            save_png(sample.pixels.numpy(), self.out / name)
        row: dict[str, Any] = {"file": name, "image": sample.number, "class": class_name}
        self.rows[sample.number] = row if sample.score is None else row | {"score": sample.score}

    def finish(self, num_drawn: int) -> None:
        """Write the listing and a grid of the first images."""
        self.num_drawn = num_drawn
        self._save(is_complete=True)
        if not is_first_process():
            return
        request = self._request
        shown = [
            decode_image(
                (self.out / self.rows[number]["file"]).read_bytes(),
                channels=request["channels"],
                bit_depth=request["bit_depth"],
            )
            for number in sorted(self.rows)[:_MOST_IN_GRID]
        ]
        save_png(image_grid(np.stack(shown), columns=math.ceil(math.sqrt(len(shown)))), self.out / "grid.png")

    def _save(self, *, is_complete: bool) -> None:
        start = time.perf_counter()
        if is_first_process():
            self._write(self.rows, num_drawn=self.num_drawn, is_complete=is_complete)
            for name in self._displaced:
                (self.out / name).unlink()
        self._displaced = []
        now = time.perf_counter()
        self._save_from = now + (now - start) / _SAVING_SHARE

    def _write(self, rows: dict[int, dict[str, Any]], *, num_drawn: int, is_complete: bool) -> None:
        listing = {
            "request": self._request,
            "is_complete": is_complete,
            "num_drawn": num_drawn,
            "acceptance_rate": len(rows) / num_drawn if num_drawn else None,
            "images": [rows[number] for number in sorted(rows)],
        }
        atomic_write_bytes(self.out / LISTING, json.dumps(listing, indent=2).encode())

    def _read(self) -> dict[str, Any] | None:
        try:
            listing = json.loads((self.out / LISTING).read_text())
            known = {"request", "is_complete", "num_drawn", "images"} <= listing.keys()
        except (OSError, ValueError, AttributeError):
            return None
        return listing if known else None

    def _take(self) -> tuple[list[dict[str, Any]], int, bool]:
        listing = self._read()
        assert listing is not None
        files = {f"{row['image']:06d}.png" for row in listing["images"]}
        there = {path.name for path in self.out.glob("[0-9]" * 6 + ".png")}
        if files - there:
            raise OutputError(
                f"{self.out} lacks {min(files - there)}, which {LISTING} has; use --force to draw all anew"
            )
        for name in there - files:
            (self.out / name).unlink()
        return listing["images"], listing["num_drawn"], listing["is_complete"]
