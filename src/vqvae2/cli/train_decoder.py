"""`vqvae2 train-decoder`: a second decoder for a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

from vqvae2.cli.console import Terminal
from vqvae2.cli.trainer import Continuation
from vqvae2.cli.verb import Results
from vqvae2.config import DecoderName, DecoderTrainingConfig

__all__ = ["TrainDecoder"]


@dataclass(frozen=True, kw_only=True)
class TrainDecoder(Continuation):
    """Train a second decoder on the codes of a run, for sharp pictures; codes, priors and files stay as they are.

    Example: vqvae2 train-decoder photos-run --stage-minutes 20
    """

    stage_minutes: float | None = None
    """Time for this training; by default a third of the run's `minutes`; 0 takes the steps as configured."""
    more_steps: int = 0
    """Steps to take on top, once the training has ended; run the same command again if it was stopped meanwhile."""
    default_decoder: DecoderName = "sharp"
    """Which decoder the pipeline uses unless another is asked for; to change it later, run the command again."""
    loss_network_weights: Path | None = None
    """File of VGG16's published weights, vgg16-397923af.pth, if the loss is in its features."""
    training: DecoderTrainingConfig = field(default_factory=DecoderTrainingConfig)

    def with_defaults(self) -> Self:
        """Take the values that the run has."""
        from vqvae2.runs.record import RunRecord

        config = RunRecord.load(self.folder).config
        return replace(self, training=config.decoder_training, default_decoder=config.default_decoder)

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.pipeline.folder import SHARP_FOLDER

        run = self.open_run(terminal)
        run.set_decoder(self.training, default=self.default_decoder)
        result = run.train_decoder(
            minutes=self.stage_minutes, more_steps=self.more_steps, loss_network_weights=self.loss_network_weights
        )
        facts = {"default": self.default_decoder, "loss_network": run.config.decoder_training.loss_network}
        return {"decoder": run.directory / SHARP_FOLDER, **facts, **asdict(result)}
