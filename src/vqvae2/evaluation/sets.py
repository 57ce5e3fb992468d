"""The images that an evaluation compares: real ones, their reconstructions, and samples, in a fixed random order.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import torch

from vqvae2.data import ImageStore, ReadBatch, spread_batches, write_images
from vqvae2.evaluation.bench import Bench
from vqvae2.evaluation.features import ImageSet, stored_images
from vqvae2.images import from_pixels, to_pixels
from vqvae2.pipeline.sample_streams import sample_all
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.system.processes import first_decides
from vqvae2.system.progress import Progress

__all__ = ["EvaluationSets"]

# Where `num_samples` is 0: a good FID needs some ten thousand, and more take hours on a CPU.
_MOST_SAMPLES = 10_000


class EvaluationSets:
    """Makes each set when it is first asked for, and resumes where an earlier attempt stopped."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._config = bench, bench.config
        self._pipeline, self._images = bench.subject.pipeline, bench.subject.images
        order = np.random.default_rng(self._config.seed)
        self.training = order.permutation(self._images.indices("train"))
        """Numbers of the training images, in a random order, so that the first n are as good as any."""
        self.validation = order.permutation(self._images.indices("validation"))
        """Numbers of the validation images, in a random order."""
        self.labelled = self.training[self._images.labels[self.training] >= 0]
        """Numbers of the training images that have a class, in the same order."""

    @property
    def has_classes(self) -> bool:
        """Whether there are images of two classes to train a classifier on, and some to test it."""
        labels = self._images.labels[self.validation]
        return len(self._images.classes) >= 2 and len(self.labelled) > 0 and bool((labels >= 0).any())

    @property
    def num_samples(self) -> int:
        return self._config.num_samples or min(len(self.training), _MOST_SAMPLES)

    @property
    def num_for_classifiers(self) -> int:
        """How many images each classifier is trained on: one sample stands for one training image."""
        return min(self.num_samples, len(self.labelled))

    @property
    def num_compared(self) -> int:
        """How many images of each set are compared with the reference."""
        return min(self._config.num_images, len(self.validation), self.num_samples)

    @cached_property
    def reference(self) -> ImageSet:
        """Training images, with which all sets are compared."""
        return stored_images(self._images, self.training[: self._config.num_reference], name="training images")

    @cached_property
    def held_out(self) -> ImageSet:
        """Validation images: what a perfect model would draw."""
        return stored_images(self._images, self.validation[: self.num_compared], name="validation images")

    @cached_property
    def reconstructed(self) -> ImageSet:
        """Reconstructions of these validation images."""
        rows = self.reconstructions.indices("validation")[: self.num_compared]
        return stored_images(self.reconstructions, rows, name="reconstructions of validation images")

    @cached_property
    def sampled(self) -> ImageSet:
        """All samples."""
        return stored_images(self.samples, np.arange(self.num_samples), name="samples")

    @cached_property
    def samples(self) -> ImageStore:
        """Samples: sample k has the class of the k-th labelled training image, counted round and round."""
        count, num_labelled = self.num_samples, len(self.labelled)
        labels = np.full(count, -1, dtype=np.int64)
        if self._pipeline.config.classes and num_labelled:
            labels = self._images.labels[self.labelled[np.arange(count) % num_labelled]]

        def make(start: int) -> Iterator[np.ndarray]:
            request = DrawRequest(
                seed=self._config.seed,
                first_image=start,
                label=torch.from_numpy(labels[start:]) if labels[0] >= 0 else None,
                sampling=self._bench.sampling,
            )
            hooks = Hooks.for_listener(self._bench.listener)
            drawn = sample_all(self._pipeline, count - start, request, batch_size=self._config.batch_size, hooks=hooks)
            while batch := list(itertools.islice(drawn, self._config.batch_size)):
                yield torch.stack([sample.pixels for sample in batch]).numpy()

        return self._write("samples", make, labels, np.zeros(count, dtype=bool))

    @cached_property
    def reconstructions(self) -> ImageStore:
        """Reconstructions of the training images that classifiers are trained on, and of the validation images."""
        for_training = self.labelled[: self.num_for_classifiers]
        rows = np.concatenate((for_training, self.validation))

        def reconstruct(batch: ReadBatch) -> np.ndarray:
            originals = from_pixels(torch.from_numpy(batch.pixels))
            reconstruction = self._pipeline.reconstruct(originals)
            pixels: np.ndarray = to_pixels(reconstruction, bit_depth=self._pipeline.config.bit_depth).cpu().numpy()
            return pixels

        def make(start: int) -> Iterator[np.ndarray]:
            done = start
            for pixels in spread_batches(self._images, rows[start:], self._config.batch_size, reconstruct):
                yield pixels
                done += len(pixels)
                self._bench.listener.progress(Progress(done, len(rows), "images"))

        is_validation = np.arange(len(rows)) >= len(for_training)
        return self._write("reconstructions", make, self._images.labels[rows], is_validation)

    def _write(
        self, name: str, make: Callable[[int], Iterator[np.ndarray]], labels: np.ndarray, is_validation: np.ndarray
    ) -> ImageStore:
        directory = self._bench.directory / name
        if not first_decides(directory.exists):
            self._bench.listener.stage(name, f"{len(labels)} images")
        return write_images(make, directory, like=self._images, labels=labels, is_validation=is_validation)
