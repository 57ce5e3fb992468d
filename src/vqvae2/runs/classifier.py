"""The folder in which a classifier is trained.

It holds what `vqvae2.training.loop.fit` writes, and::

    classifier.json      how images are read, the network, and its training
    images/              the images, unless they are those of a run
    model.safetensors    the best model; with it, the folder can stand wherever a network is asked for
    last.safetensors, log.jsonl, states/
"""

from __future__ import annotations

from vqvae2.config import (
    ClassifierFamily,
    ClassifierNetworkConfig,
    ClassifierRunConfig,
    Lite0Config,
    ResNetConfig,
)
from vqvae2.models.checkpoint import LAST_MODEL_FILE, MODEL_FILE
from vqvae2.runs.record import Record
from vqvae2.training.states import STATES_FOLDER
from vqvae2.training.tracking import TRACKING_FOLDER

__all__ = ["ClassifierRecord", "network_for_size"]


class ClassifierRecord(Record[ClassifierRunConfig]):
    """The record of a classifier: `classifier.json`."""

    file, magic, version = "classifier.json", "vqvae2.classifier", 1
    owner, config_type = "a classifier", ClassifierRunConfig

    @property
    def entries(self) -> tuple[str, ...]:
        return ("images", MODEL_FILE, LAST_MODEL_FILE, "log.jsonl", STATES_FOLDER, TRACKING_FOLDER, self.file)


def network_for_size(family: ClassifierFamily, size: tuple[int, int]) -> ClassifierNetworkConfig:
    """Return the default network of a family for images of that height and width in pixels.

    From 64 pixels on, a residual network halves the images at once, so it takes the time of half the size.
    """
    if family == "resnet":
        return ResNetConfig(stem_stride=2 if min(size) >= 64 else 1)
    return Lite0Config()
