"""`vqvae2 train-tokenizer`: the first stage of a run alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vqvae2.cli.trainer import ImageBuilder

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal

__all__ = ["TrainTokenizer"]


@dataclass(frozen=True, kw_only=True)
class TrainTokenizer(ImageBuilder):
    """Read a folder of images into a run folder, and train its tokenizer.

    Example: vqvae2 train-tokenizer photos --out photos-run --stage-minutes 20
    """

    stage_minutes: float | None = None
    """Time for this training; None takes its part of the run's `minutes`, 0 the steps as configured."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        from vqvae2.pipeline.folder import TOKENIZER_FOLDER

        if self.dry_run:
            return self.config.to_dict()
        source = self.source()
        run = self.open_run(terminal)
        run.prepare_images(source)
        result = run.train_tokenizer(minutes=self.stage_minutes)
        return {
            "tokenizer": str(run.directory / TOKENIZER_FOLDER),
            "validation": result.validation,
            "seconds": result.seconds,
        }
