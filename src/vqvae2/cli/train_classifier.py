"""The verb that trains a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tyro

from vqvae2.cli.trainer import Trainer
from vqvae2.config import ClassifierConfig, ClassifierFamily, ClassifierRunConfig, ImageConfig
from vqvae2.config.presets import choose_size
from vqvae2.errors import ConfigError

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal
    from vqvae2.data import Images

__all__ = ["TrainClassifier"]

_SIZES: dict[ClassifierFamily, tuple[int, ...]] = {"resnet": (32, 64, 128), "lite0": (32, 64, 128, 224)}


@dataclass(frozen=True, kw_only=True)
class TrainClassifier(Trainer):
    """Train a classifier on images in sub-folders, which are their classes, and say how often it is right.

    It can judge the samples of a pipeline. Given the folder of a run, it sees the very images, and the same split.

    Example: vqvae2 train-classifier photos --out photos-classifier --stage-minutes 5
    """

    images_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images; sub-folders are classes. Or the folder of a run, for its images."""
    out: Path
    """Folder of the classifier; the same command goes on with a training that was stopped."""
    classifier: ClassifierFamily | None = None
    """A residual network of our own (the default), or EfficientNet-Lite0 pretrained on ImageNet, which needs the extra
    `eval`; its options are the `network` ones."""
    stage_minutes: float = 0.0
    """Time for the training; 0 takes the steps as configured. A training that goes on keeps its steps."""
    force: bool = False
    """Remove an earlier classifier from that folder first, and allow other files in it."""
    dry_run: bool = False
    """Print the resolved config and stop."""
    config: Annotated[ClassifierRunConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = field(
        default_factory=ClassifierRunConfig
    )

    def with_defaults(self) -> Self:
        """Take the values of the training that the folder holds, or those that suit the images."""
        from vqvae2.runs.classifier import ClassifierRecord, network_for_size

        if ClassifierRecord.exists_in(self.out) and not self.force:
            earlier = ClassifierRecord.load(self.out).config
            if self.classifier in (None, earlier.network.family):
                return replace(self, config=earlier)
        family = self.classifier or self.config.network.family
        images = self._images_config(family)
        return replace(self, config=replace(self.config, images=images, network=network_for_size(family, images.size)))

    def run(self, terminal: Terminal) -> dict[str, Any]:
        from vqvae2.models.checkpoint import MODEL_FILE, load_model
        from vqvae2.runs.classifier import ClassifierRecord
        from vqvae2.runs.training import TrainingStage
        from vqvae2.training.classifier import ClassifierTask, measure_accuracy

        if self.dry_run:
            return self.config.to_dict()
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
            "classifier": str(self.out / MODEL_FILE),
            "classes": len(images.classes),
            "validation": {name: value for name, value in asdict(accuracy).items() if value is not None},
            "best_step": result.best_step,
            "last_step": result.last_step,
            "seconds": result.seconds,
        }

    def _open_images(self, terminal: Terminal) -> tuple[tuple[str, ...], Callable[[], Images]]:
        """Open images, or those that a run has prepared; give their classes, and what prepares them."""
        from vqvae2.data import open_images, open_prepared
        from vqvae2.runs.images import announce_skipped, prepare_once
        from vqvae2.runs.record import RunRecord

        if not RunRecord.exists_in(self.images_folder):
            source = open_images(self.images_folder)
            prepare = partial(prepare_once, source, self.out / "images", self.config.images, listener=terminal)
            return source.classes, prepare
        if self.config.images != RunRecord.load(self.images_folder).config.images:
            raise ConfigError(
                f"`images` must be as the run {self.images_folder} has read them; leave these options out, or give the "
                "folder of images in the place of the run"
            )
        images = open_prepared(self.images_folder / "images", on_skipped=announce_skipped(terminal))
        return images.classes, lambda: images

    def _images_config(self, family: ClassifierFamily) -> ImageConfig:
        from vqvae2.data import open_images, survey_images
        from vqvae2.runs.record import RunRecord

        if RunRecord.exists_in(self.images_folder):
            return RunRecord.load(self.images_folder).config.images
        survey = survey_images(open_images(self.images_folder))
        size = choose_size(_SIZES[family], survey.short_side)
        return ImageConfig(size=(size, size), channels=survey.channels, bit_depth=survey.bit_depth)
