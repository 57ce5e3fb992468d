"""`vqvae2 run`: everything, from a folder of images to a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqvae2.cli.trainer import ImageBuilder

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal
    from vqvae2.data import ImageSource
    from vqvae2.runs.run import Run

__all__ = ["RunAll", "run_all"]


@dataclass(frozen=True, kw_only=True)
class RunAll(ImageBuilder):
    """Train a tokenizer and priors on a folder of images, draw new images, and write a report.

    Example: vqvae2 run photos --out photos-run --minutes 30
    """

    def run(self, terminal: Terminal) -> dict[str, Any]:
        from vqvae2.data import ImageFolder

        if self.dry_run:
            return self.config.to_dict()
        height, width = self.config.images.size
        terminal.say(
            f"preset {self.preset} ({height}x{width} pixels), "
            + (f"about {self.config.minutes:g} minutes" if self.config.minutes else "steps as configured")
            + "; change them with --preset and --minutes"
        )
        source = self.source()
        return run_all(
            self.open_run(terminal),
            source,
            terminal,
            next_images=source.path if isinstance(source, ImageFolder) else None,
        )


def run_all(run: Run, source: ImageSource, terminal: Terminal, *, next_images: Path | None) -> dict[str, Any]:
    """Do what of a run is not done yet; give its results."""
    from vqvae2.report import write_page
    from vqvae2.runs.measuring import measure_run
    from vqvae2.system.processes import first_decides

    run.prepare_images(source)
    run.train_tokenizer()
    run.extract_codes()
    for level in range(run.num_levels):
        run.train_prior(level)
    next_steps = (
        f"vqvae2 sample {run.directory} --out samples --num-images 64",
        f"vqvae2 evaluate {run.directory}",
        f"vqvae2 reconstruct {next_images or 'IMAGES'} --pipeline {run.directory} --out reconstructions",
        *(() if next_images else ("vqvae2 run IMAGES --out DIR --minutes 30    # the same with a folder of your own",)),
    )
    results = first_decides(lambda: measure_run(run))
    title = f"vqvae2 run: {run.directory.resolve().name}"
    report = first_decides(lambda: write_page(results, run.directory, title=title, next_steps=next_steps))
    terminal.say(
        f"\nThe report is {report}; open it in a browser. Its numbers are in {report.parent / 'results.json'}."
    )
    terminal.say("To try next:")
    for step in next_steps:
        terminal.say(f"  {step}")
    return {"report": str(report), **results.to_dict()}
