"""`vqvae2 train-classifier`: a classifier that judges samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro

from vqvae2.cli.console import Terminal
from vqvae2.cli.trainer import ImageStarter
from vqvae2.cli.verb import Results
from vqvae2.config import ClassifierConfig, ClassifierFamily, ClassifierRunConfig, ImageConfig, network_for_size
from vqvae2.config.presets import choose_size
from vqvae2.errors import ConfigError

if TYPE_CHECKING:
    from vqvae2.data import Images

__all__ = ["TrainClassifier"]

_SIZES: dict[ClassifierFamily, tuple[int, ...]] = {"resnet": (32, 64, 128), "lite0": (32, 64, 128, 224)}


@dataclass(frozen=True, kw_only=True)
class TrainClassifier(ImageStarter):
    """Train a classifier on images whose sub-folders are classes, and measure how often it is right.

    It can judge the samples of a pipeline. Given the folder of a run, it is trained on the run's images and split.

    Example: vqvae2 train-classifier photos --out photos-classifier --stage-minutes 5
    """

    images_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images, whose sub-folders are classes; or the folder of a run, to take its images."""
    classifier: ClassifierFamily | None = None
    """A residual network, or EfficientNet-Lite0 pretrained on ImageNet (extra `eval`); `network` has its options."""
    stage_minutes: float = 0.0
    """Time for the training; 0 takes the steps as configured; a training that resumes keeps its steps."""
    config: Annotated[ClassifierRunConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = field(
        default_factory=ClassifierRunConfig
    )

    def with_defaults(self) -> Self:
        """Take the values of the training that the folder holds, or those that suit the images."""
        from vqvae2.data import survey_images
        from vqvae2.runs.record import ClassifierRecord, RunRecord

        if ClassifierRecord.exists_in(self.out) and not self.force:
            earlier = ClassifierRecord.load(self.out).config
            if self.classifier in (None, earlier.network.family):
                return replace(self, config=earlier)
        chosen, family = self, self.classifier or self.config.network.family
        if RunRecord.exists_in(self.images_folder):
            images = RunRecord.load(self.images_folder).config.images
        else:
            source = self.source()
            chosen = replace(self, reopen=lambda: source)
            survey = survey_images(source)
            size = choose_size(_SIZES[family], survey.short_side)
            images = ImageConfig(size=(size, size), channels=survey.channels, bit_depth=survey.bit_depth)
        config = replace(self.config, images=images, network=network_for_size(family, images.size))
        return replace(chosen, config=config)

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.models.checkpoint import MODEL_FILE, load_model
        from vqvae2.runs.record import ClassifierRecord
        from vqvae2.runs.training import TrainingStage
        from vqvae2.training.classifier import ClassifierTask, measure_accuracy

        if self.dry_run:
            return self.config
        classes, prepare = self._open_images(terminal)
        config = ClassifierConfig(classes=classes, in_channels=self.config.images.channels, network=self.config.network)
        runtime = self.runtime(terminal, self.out)
        record = ClassifierRecord.begin(self.out, self.config, force=self.force)
        images, training = prepare(), self.config.training
        task = ClassifierTask(config, images, training)
        stage = TrainingStage(record, "train classifier", self.out)
        result = stage.train(task, training, minutes=self.stage_minutes, runtime=runtime, listener=terminal)
        model, _ = load_model(self.out / MODEL_FILE, kind="classifier")
        accuracy = measure_accuracy(model.to(runtime.device), images, images.indices("validation"), runtime=runtime)
        return {
            "classifier": self.out / MODEL_FILE,
            "classes": len(images.classes),
            **asdict(result),
            "validation": {name: value for name, value in asdict(accuracy).items() if value is not None},
        }

    def _open_images(self, terminal: Terminal) -> tuple[tuple[str, ...], Callable[[], Images]]:
        """Open images, or those that a run has prepared; return their classes, and what prepares them."""
        from vqvae2.data import open_prepared
        from vqvae2.runs.images import announce_skipped, prepare_once
        from vqvae2.runs.record import RunRecord

        if not RunRecord.exists_in(self.images_folder):
            source = self.source()
            prepare = partial(prepare_once, source, self.out / "images", self.config.images, listener=terminal)
            return source.classes, prepare
        if self.config.images != RunRecord.load(self.images_folder).config.images:
            raise ConfigError(
                f"`images` must be as in the run {self.images_folder}; leave these options out, or give the folder of "
                "images instead of the run"
            )
        images = open_prepared(self.images_folder / "images", on_skipped=announce_skipped(terminal))
        return images.classes, lambda: images
