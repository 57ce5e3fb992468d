"""`vqvae2 train-tokenizer`: the first stage of a run alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from vqvae2.cli.console import Terminal
from vqvae2.cli.trainer import ImageBuilder
from vqvae2.cli.verb import Results

__all__ = ["TrainTokenizer"]


@dataclass(frozen=True, kw_only=True)
class TrainTokenizer(ImageBuilder):
    """Read a folder of images into a run folder, and train the run's tokenizer.

    Example: vqvae2 train-tokenizer photos --out photos-run --stage-minutes 20
    """

    stage_minutes: float | None = None
    """Time for this training; by default its share of the run's `minutes`; 0 takes the steps as configured."""
    more_steps: int = 0
    """Steps to take on top, once the training has ended; run the same command again if it was stopped meanwhile."""

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.pipeline.folder import TOKENIZER_FOLDER

        if self.dry_run:
            return self.plan(terminal)
        source = self.source()
        run = self.open_run(terminal)
        run.prepare_images(source)
        result = run.train_tokenizer(minutes=self.stage_minutes, more_steps=self.more_steps)
        return {"tokenizer": run.directory / TOKENIZER_FOLDER, **asdict(result)}
