"""`vqvae2 tune-sampling`: the sampling settings of a pipeline, chosen on held-out images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.measurer import Measurer
from vqvae2.cli.verb import Results
from vqvae2.config import TuningConfig
from vqvae2.errors import ConfigError

__all__ = ["TuneSampling"]


@dataclass(frozen=True, kw_only=True)
class TuneSampling(Measurer):
    """Choose temperature and top-p by the distance of drawn to held-out images, and make them a pipeline's defaults.

    Example: vqvae2 tune-sampling photos-run --num-images 5000
    """

    features: str = "lite0"
    """Network that compares images: lite0 or lite2 (extra `eval`), inception, vgg16, or the folder of a classifier."""
    config: Annotated[TuningConfig, tyro.conf.arg(name="")] = field(default_factory=TuningConfig)

    @property
    def held(self) -> Path | None:
        return self.pipeline if self.pipeline.is_dir() and not self.dry_run else None  # whose settings are changed

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.metrics.results import RESULTS_FILE
        from vqvae2.pipeline.config import read_pipeline_config, write_pipeline_config
        from vqvae2.pipeline.folder import TUNING_FOLDERS
        from vqvae2.system.processes import first_decides

        if self.dry_run:
            return self.config
        if not self.pipeline.is_dir():
            raise ConfigError(
                f"`pipeline` must be a folder, whose settings are changed, got {self.pipeline}; save it to one"
            )
        runtime = vqvae2.choose_runtime(self.device, "float32", stop=terminal.stop)
        pipeline = self.load_pipeline(runtime)
        network = self.find_network(self.features)
        out = self.make_out(TUNING_FOLDERS[pipeline.config.default_decoder])
        subject = self.subject(pipeline, out, terminal)
        results = vqvae2.tune_sampling(subject, out, self.config, network, runtime=runtime, listener=terminal)
        table = results.tuning[network.name]
        config = replace(read_pipeline_config(self.pipeline), sampling=table.chosen)
        first_decides(lambda: write_pipeline_config(config, self.pipeline))
        return {
            "network": network.name,
            "num_images": table.protocol.num_images,
            "candidates": [
                {
                    "settings": scores.sampling.in_words,
                    "frechet_distance": scores.frechet_distance,
                    "kernel_distance": scores.kernel_distance,
                    "precision": scores.precision,
                    "recall": scores.recall,
                }
                for scores in table.candidates
            ],
            "chosen": table.chosen.in_words,
            "table": out / RESULTS_FILE,
        }
