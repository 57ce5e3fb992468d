"""The networks of an evaluation: those that see all sets of images, and the classifiers that it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from vqvae2.config import ClassifierConfig, EvaluationConfig
from vqvae2.data import Images
from vqvae2.evaluation.dial import score_samples
from vqvae2.evaluation.feature_network import FeatureNetwork
from vqvae2.evaluation.features import FeatureSet, extract_features
from vqvae2.evaluation.image_set import ImageSet
from vqvae2.evaluation.sets import EvaluationSets
from vqvae2.models.checkpoint import LAST_MODEL_FILE, load_model
from vqvae2.system.progress import Listener, Progress
from vqvae2.training.classifier import ClassifierTask
from vqvae2.training.loop import fit
from vqvae2.training.task import Runtime

__all__ = ["EvaluationNetworks"]


class EvaluationNetworks:
    """Runs the networks over the sets, and trains the classifiers, each once and going on where it was stopped.

    Args:
        sets: The images.
        directory: Where features and classifiers are kept.
        config: How classifiers are trained.
        given: Networks that are there already.
        with_judge: Whether the classifier that is trained on real images is one more of the networks.
        rejection_classifier: Scores samples; None to train another one on all real images.
        runtime: Where and how to compute.
        listener: Is told what happens.
    """

    def __init__(
        self,
        sets: EvaluationSets,
        directory: Path,
        config: EvaluationConfig,
        *,
        given: Sequence[FeatureNetwork],
        with_judge: bool,
        rejection_classifier: nn.Module | None,
        runtime: Runtime,
        listener: Listener,
    ) -> None:
        self._sets, self._directory, self._config = sets, directory, config
        self._given, self._with_judge, self._rejection_classifier = given, with_judge, rejection_classifier
        self._runtime, self._listener = runtime, listener

    def __bool__(self) -> bool:
        return bool(self._given) or self._with_judge

    def all(self) -> list[FeatureNetwork]:
        """Give all networks in whose features sets are compared."""
        return [*self._given, *([self._judge] if self._with_judge else [])]

    def features(self, network: FeatureNetwork, images: ImageSet) -> FeatureSet:
        """Run a set of images through a network."""
        self._listener.stage("features", f"{images.num_images} {images.name} in {network.name}")
        return extract_features(
            network,
            images,
            self._directory / "features",
            device=self._runtime.device,
            batch_size=self._config.batch_size,
            on_progress=lambda done, total: self._listener.progress(Progress(done, total, "images")),
        )

    def classifier(self, kind: str) -> nn.Module:
        """Train a classifier on real images, reconstructions or samples; in evaluation mode, on the device.

        Each sees as many images of the same classes. It is the last model of its training that counts: to choose the
        best by the images that it is tested on would flatter it.
        """
        sets = self._sets
        if kind == "real":
            return self._train(kind, sets.images, sets.labelled[: sets.num_for_classifiers])
        store = sets.samples if kind == "samples" else sets.reconstructions
        return self._train(kind, store, store.indices("train")[: sets.num_for_classifiers])

    @cached_property
    def scores(self) -> np.ndarray:
        """Probability of the intended class of each sample, float64 `(N,)`, by the rejection classifier.

        Where none was given, one is trained on all real training images, from another seed than the networks that
        judge: what a classifier accepts should not be judged by itself.
        """
        classifier = self._rejection_classifier
        if classifier is None:
            seed = self._config.classifier_training.seed + 1
            classifier = self._train("rejection", self._sets.images, self._sets.labelled, seed=seed)
        pool, device = self._sets.samples, self._runtime.device
        return score_samples(pool, classifier, device=device, batch_size=self._config.batch_size)

    @cached_property
    def _judge(self) -> FeatureNetwork:
        model = self.classifier("real")
        return FeatureNetwork("Classifier", model, str(model.preprocessing))

    def _train(self, kind: str, images: Images, indices: np.ndarray, *, seed: int | None = None) -> nn.Module:
        directory = self._directory / "classifiers" / kind
        training = self._config.training_on(len(indices))
        if seed is not None:
            training = replace(training, seed=seed)
        network = self._config.classifier_network
        config = ClassifierConfig(classes=images.classes, in_channels=images.channels, network=network)
        task = ClassifierTask(config, images, training, training_indices=indices, validation=self._sets.images)
        listener = self._listener
        listener.stage(f"train classifier, {kind}", f"{training.steps} steps of {training.batch_size} images")
        fit(task, training, directory, runtime=self._runtime, on_progress=listener.progress, on_warning=listener.say)
        model, _ = load_model(directory / LAST_MODEL_FILE, kind="classifier")
        return model.to(self._runtime.device)
