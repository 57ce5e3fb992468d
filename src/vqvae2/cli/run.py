"""`vqvae2 run`: everything, from a folder of images to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.trainer import ImageBuilder
from vqvae2.cli.verb import Results

if TYPE_CHECKING:
    from vqvae2.data import ImageSource

__all__ = ["Run", "run_all", "write_report"]


@dataclass(frozen=True, kw_only=True)
class Run(ImageBuilder):
    """Train a tokenizer and priors on a folder of images, draw new images, and write a report.

    Example: vqvae2 run photos --out photos-run --minutes 30
    """

    def run(self, terminal: Terminal) -> Results:
        if self.dry_run:
            return self.plan(terminal)
        height, width = self.config.images.size
        time = f"about {self.config.minutes:g} minutes" if self.config.minutes else "steps as configured"
        terminal.say(f"preset {self.preset} ({height}x{width} pixels), {time}; change them with --preset and --minutes")
        source = self.source()  # before the folder of the run is made
        return run_all(self.open_run(terminal), source, terminal, images=self.images_folder)


def run_all(run: vqvae2.Run, source: ImageSource, terminal: Terminal, *, images: Path | None = None) -> Results:
    """Do the stages of a run that are not done yet; return its results. The user's own `images` go into the hints."""
    from vqvae2.runs.measuring import measure_run
    from vqvae2.system.processes import first_decides

    run.prepare_images(source)
    run.train_tokenizer()
    run.extract_codes()
    for level in range(run.num_levels):
        run.train_prior(level)
    if run.config.sharp_decoder:
        run.train_decoder()
    folder = images if images is not None and images.is_dir() else "IMAGES"
    next_steps = [
        f"vqvae2 sample {run.directory} --out samples --num-images 64",
        f"vqvae2 evaluate {run.directory}",
        f"vqvae2 reconstruct {folder} --pipeline {run.directory} --out reconstructions",
    ]
    if images is None:
        next_steps.append("vqvae2 run IMAGES --out DIR --minutes 30    # the same with a folder of your own")
    results = first_decides(lambda: measure_run(run))
    title = f"vqvae2 run: {run.directory.resolve().name}"
    return write_report(results, run.directory, terminal, title=title, next_steps=next_steps)


def write_report(
    results: vqvae2.Results, folder: Path, terminal: Terminal, *, title: str, next_steps: Sequence[str] = ()
) -> Results:
    """Write the page of some results beside them, and say where it is; return what goes to stdout."""
    from vqvae2.metrics.results import RESULTS_FILE
    from vqvae2.report import write_page
    from vqvae2.system.processes import first_decides

    page = first_decides(lambda: write_page(results, folder, title=title, next_steps=next_steps))
    terminal.say(f"\nThe report is {page}; open it in a browser. Its numbers are in {folder / RESULTS_FILE}.")
    if next_steps:
        terminal.say("\n  ".join(["Next, try:", *next_steps]))
    return {"report": page, **results.to_dict()}
