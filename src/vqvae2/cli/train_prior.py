"""`vqvae2 train-prior`: the prior of one level of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Self

import tyro

from vqvae2.cli.console import Terminal
from vqvae2.cli.trainer import Continuation
from vqvae2.cli.verb import Results
from vqvae2.config import NetworkConfig, NetworkFamily, PixelSNAILConfig, PriorTrainingConfig, network_of_family

__all__ = ["TrainPrior"]


@dataclass(frozen=True, kw_only=True)
class TrainPrior(Continuation):
    """Train the prior of one level on the codes of a run.

    Example: vqvae2 train-prior photos-run --level 0 --stage-minutes 20
    """

    level: int
    """Number of the level; 0 is the top."""
    stage_minutes: float | None = None
    """Time for this training; by default its share of the run's `minutes`; 0 takes the steps as configured."""
    more_steps: int = 0
    """Steps to take on top, once the training has ended; run the same command again if it was stopped meanwhile."""
    prior: NetworkFamily | None = None
    """Take another kind of prior than the run's, of the same width and depth; its options are the `network` ones."""
    network: Annotated[NetworkConfig, tyro.conf.AvoidSubcommands] = field(default_factory=PixelSNAILConfig)
    training: PriorTrainingConfig = field(default_factory=PriorTrainingConfig)

    def with_defaults(self) -> Self:
        """Take the values that the run has for this level."""
        from vqvae2.runs.record import RunRecord

        config = RunRecord.load(self.folder).config
        network = config.prior(self.level)
        if self.prior is not None:
            network = network_of_family(network, self.prior)
        return replace(self, network=network, training=config.prior_training(self.level))

    def run(self, terminal: Terminal) -> Results:
        run = self.open_run(terminal)
        run.set_prior(self.level, self.network, self.training)
        result = run.train_prior(self.level, minutes=self.stage_minutes, more_steps=self.more_steps)
        return {"prior": run.prior_directory(self.level), **asdict(result)}
