"""The networks of an evaluation at work: they see all sets of images, and score samples."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from torch import nn

from vqvae2.config import ClassifierConfig
from vqvae2.data import Images
from vqvae2.evaluation.bench import Bench
from vqvae2.evaluation.dial import score_samples
from vqvae2.evaluation.features import FeatureSet, ImageSet, extract_features
from vqvae2.evaluation.networks import EvaluationNetworks, FeatureNetwork
from vqvae2.evaluation.sets import EvaluationSets
from vqvae2.models.checkpoint import LAST_MODEL_FILE, load_model
from vqvae2.training.classifier import ClassifierTask
from vqvae2.training.loop import fit

__all__ = ["Judges"]


class Judges:
    """Runs the networks over the sets of images and trains the classifiers, each once."""

    def __init__(self, bench: Bench, networks: EvaluationNetworks) -> None:
        self.bench, self.sets = bench, EvaluationSets(bench)
        self._networks = networks
        for network in networks.given:
            network.module.to(bench.runtime.device)
        self._with_classifier = networks.with_classifier and self.sets.has_classes

    def __bool__(self) -> bool:
        return bool(self._networks.given) or self._with_classifier

    def all(self) -> list[FeatureNetwork]:
        """Give all networks in whose features sets are compared."""
        return [*self._networks.given, *([self._real_classifier] if self._with_classifier else [])]

    def features(self, network: FeatureNetwork, images: ImageSet) -> FeatureSet:
        """Run a set of images through a network."""
        self.bench.listener.stage("features", f"{images.num_images} {images.name} in {network.name}")
        return extract_features(
            network,
            images,
            self.bench.directory / "features",
            device=self.bench.runtime.device,
            batch_size=self.bench.config.batch_size,
            on_progress=self.bench.counter("images"),
        )

    def classifier(self, kind: str) -> nn.Module:
        """Train a classifier on real images, reconstructions or samples; give it in evaluation mode, on the device.

        Each kind has as many images of the same classes. The last model of the training counts: choosing the best by
        the images that it is tested on would flatter it.
        """
        sets = self.sets
        if kind == "real":
            return self._train(kind, self.bench.subject.images, sets.labelled[: sets.num_for_classifiers])
        store = sets.samples if kind == "samples" else sets.reconstructions
        return self._train(kind, store, store.indices("train")[: sets.num_for_classifiers])

    @cached_property
    def scores(self) -> np.ndarray:
        """Probability of the intended class of each sample, float64 `(N,)`, by the rejection classifier.

        Where none was given, one is trained on all real training images, from another seed than the classifier that
        judges: no classifier should judge what it has accepted itself.
        """
        classifier = self._networks.rejection_classifier
        if classifier is None:
            seed = self.bench.config.classifier_training.seed + 1
            classifier = self._train("rejection", self.bench.subject.images, self.sets.labelled, seed=seed)
        pool, device = self.sets.samples, self.bench.runtime.device
        return score_samples(pool, classifier, device=device, batch_size=self.bench.config.batch_size)

    @cached_property
    def _real_classifier(self) -> FeatureNetwork:
        model = self.classifier("real")
        return FeatureNetwork("Classifier", model, str(model.preprocessing))

    def _train(self, kind: str, images: Images, indices: np.ndarray, *, seed: int | None = None) -> nn.Module:
        directory = self.bench.directory / "classifiers" / kind
        training = self.bench.config.training_on(len(indices))
        if seed is not None:
            training = replace(training, seed=seed)
        network = self.bench.config.classifier_network
        config = ClassifierConfig(classes=images.classes, in_channels=images.channels, network=network)
        task = ClassifierTask(config, images, training, training_indices=indices, validation=self.bench.subject.images)
        runtime, listener = self.bench.runtime, self.bench.listener
        listener.stage(f"train classifier, {kind}", f"{training.steps} steps of {training.batch_size} images")
        fit(task, training, directory, runtime=runtime, on_progress=listener.progress, on_warning=listener.say)
        model, _ = load_model(directory / LAST_MODEL_FILE, kind="classifier")
        return model.to(runtime.device)
