"""Draw more images than memory holds: batch after batch, as they come or the best of them.

Shapes: B images of a batch, C channels, H x W pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from vqvae2.config import SamplingConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.images import from_pixels, to_pixels
from vqvae2.models.classifier import Classifier
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.pipeline.rejection import AboveThreshold, AcceptanceRule, BestFraction, intended_probability, num_candidates
from vqvae2.system.processes import spread
from vqvae2.system.progress import Listener, Progress, Silence, batch_progress

__all__ = ["Candidate", "DrawnSample", "sample_accepted", "sample_all"]

# A threshold under which fewer candidates than this pass is taken for a mistake, and not waited for.
_LOWEST_RATE = 1e-3


class Candidate(NamedTuple):
    """One image that a classifier has judged."""

    number: int
    label: int
    """Its intended class."""
    score: float
    """Probability of that class."""


@dataclass(frozen=True, kw_only=True)
class DrawnSample:
    """One image that is kept, at least for now."""

    number: int
    """Image `number` of the seed, see `Pipeline.sample`."""
    pixels: Tensor
    """uint8 or uint16 `(H, W, C)`, on the CPU."""
    label: int | None
    """Its intended class; None without classes."""
    score: float | None = None
    """Probability of that class by the classifier; None where none was asked."""
    displaced: int | None = None
    """Number of an earlier image that is not kept any more, since this one is better."""
    num_drawn: int
    """Images drawn and judged so far, this one included."""


def sample_all(
    pipeline: Pipeline,
    num_images: int | None,
    *,
    seed: int = 0,
    first_image: int = 0,
    label: int | Tensor | None = None,
    config: SamplingConfig | None = None,
    batch_size: int = 64,
    num_before: int = 0,
    compile: bool = False,
    listener: Listener | None = None,
) -> Iterator[DrawnSample]:
    """Draw images one batch after the other, and keep them all.

    Several processes draw a batch each at the same time; all of them are given all images.

    Args:
        pipeline: With priors.
        num_images: How many; None goes on for ever.
        seed: As for `Pipeline.sample`, and so are all further ones.
        first_image: As above.
        label: As above; a tensor of labels has one for each of `num_images`.
        config: As above.
        batch_size: Images at a time.
        num_before: How many of the images are left out, since an earlier call gave them; whole batches.
        compile: Whether the walks' steps are compiled.
        listener: Is told how many codes are drawn, if `num_images` says of how many.

    Yields:
        The images, by number.

    Raises:
        CheckpointError: If the pipeline has no priors.
        ConfigError: If `batch_size`, `label` or the config does not fit.
    """
    stream = _Stream(pipeline, num_images, seed, first_image, label, config, batch_size, compile, listener)
    return stream.draw(num_before)


def sample_accepted(
    pipeline: Pipeline,
    classifier: Classifier,
    num_images: int,
    *,
    acceptance_rate: float | None = None,
    threshold: float | None = None,
    seed: int = 0,
    first_image: int = 0,
    label: int | None = None,
    config: SamplingConfig | None = None,
    batch_size: int = 64,
    num_before: int = 0,
    kept_before: Sequence[Candidate] = (),
    compile: bool = False,
    listener: Listener | None = None,
) -> Iterator[DrawnSample]:
    """Draw images, and keep those that a classifier takes for what they were meant to be.

    The rules are those of `vqvae2.pipeline.rejection`. With an `acceptance_rate`, `num_images / acceptance_rate` images
    are drawn, and those kept are at any time the best so far of each class: an image that is yielded may displace an
    earlier one. With a `threshold`, images are drawn until enough of them pass. Never more than a batch of images is
    held.

    Args:
        pipeline: With priors and classes.
        classifier: With the pipeline's classes in their order, in evaluation mode, on its device.
        num_images: How many to keep.
        acceptance_rate: The fraction to keep, in 0..1.
        threshold: The least probability of the intended class, in 0..1; give this or the rate.
        seed: As for `sample_all`, and so are all further ones.
        first_image: As above.
        label: Class of all images; None draws classes with their training frequencies.
        config: As above.
        batch_size: As above.
        num_before: As above, of the images that are drawn.
        kept_before: Those of them that were kept so far.
        compile: As above.
        listener: As above; with a threshold it is told how many images are kept.

    Yields:
        The images that are kept, at least for now.

    Raises:
        CheckpointError: If the pipeline has no priors or no classes.
        ConfigError: If an argument does not fit, the classifier has another number of classes, or nearly nothing passes
            the threshold; the images that did have been yielded.
    """
    if not pipeline.config.classes:
        raise CheckpointError(
            "this pipeline has no classes, so no sample has an intended one; rejection needs a pipeline trained on "
            "images in folders, one a class"
        )
    rule: AcceptanceRule
    total = None
    if acceptance_rate is not None and threshold is None:
        total = num_candidates(num_images, acceptance_rate)
        labels = pipeline.labels(total, seed=seed, first_image=first_image, label=label)
        assert labels is not None
        rule = BestFraction(labels, num_images)
    elif threshold is not None and acceptance_rate is None:
        rule = AboveThreshold(threshold)
    else:
        raise ConfigError(
            "either `acceptance_rate` or `threshold` must be given, "
            f"got {'neither' if threshold is None else 'both'}; leave one out"
        )
    for candidate in kept_before:
        rule.offer(candidate.number, label=candidate.label, score=candidate.score)
    kept = len(kept_before)
    stream = _Stream(pipeline, total, seed, first_image, label, config, batch_size, compile, listener, classifier)
    for sample in stream.draw(num_before):
        assert sample.label is not None
        assert sample.score is not None
        decision = rule.offer(sample.number, label=sample.label, score=sample.score)
        if decision.is_kept:
            kept += decision.displaced is None
            yield replace(sample, displaced=decision.displaced)
        if total is None:
            if listener is not None:
                listener.progress(Progress(kept, num_images, "images"))
            if kept == num_images:
                return
            _check_rate(kept, num_images, sample.num_drawn, threshold)


@dataclass(frozen=True)
class _Stream:
    """The arguments of `sample_all`, and a classifier that scores what is drawn."""

    pipeline: Pipeline
    num_images: int | None
    seed: int
    first_image: int
    label: int | Tensor | None
    config: SamplingConfig | None
    batch_size: int
    compile: bool
    listener: Listener | None
    classifier: Classifier | None = None

    def draw(self, num_before: int) -> Iterator[DrawnSample]:
        size, total = self.batch_size, self.num_images
        if size < 1 or (total is not None and total < 1):
            raise ConfigError(f"`num_images` and `batch_size` must be above 0, got {total}, {size}")
        starts = itertools.count(num_before, size) if total is None else range(num_before, total, size)
        for batch in spread(starts, self._draw_batch):
            for index, pixels in enumerate(batch.pixels):
                yield DrawnSample(
                    number=self.first_image + batch.start + index,
                    pixels=pixels,
                    label=None if batch.labels is None else int(batch.labels[index]),
                    score=None if batch.scores is None else float(batch.scores[index]),
                    num_drawn=batch.start + index + 1,
                )

    def _draw_batch(self, start: int) -> _Batch:
        total, pipeline = self.num_images, self.pipeline
        count = self.batch_size if total is None else min(self.batch_size, total - start)
        label = self.label[start : start + count] if isinstance(self.label, Tensor) else self.label
        progress = None
        if total is not None:
            progress = batch_progress(self.listener or Silence(), before=start, count=count, num_images=total)
        images = pipeline.sample(
            count,
            seed=self.seed,
            first_image=self.first_image + start,
            label=label,
            config=self.config,
            on_progress=progress,
            compile=self.compile,
        )
        labels = pipeline.labels(count, seed=self.seed, first_image=self.first_image + start, label=label)
        # What is judged is what is kept: whole steps of brightness.
        pixels = to_pixels(images, bit_depth=pipeline.config.bit_depth)
        scores = None
        if self.classifier is not None:
            assert labels is not None
            scores = intended_probability(
                self.classifier, from_pixels(pixels), labels, num_classes=len(pipeline.config.classes)
            )
        return _Batch(start, pixels.cpu(), labels, scores)


class _Batch(NamedTuple):
    start: int
    """Images drawn before."""
    pixels: Tensor
    labels: Tensor | None
    scores: Tensor | None


def _check_rate(kept: int, num_images: int, drawn: int, threshold: float | None) -> None:
    if drawn * _LOWEST_RATE > max(1, kept) and drawn >= num_images:
        raise ConfigError(
            f"only {kept} of {drawn:,} images had a probability of `threshold` {threshold} or more, "
            f"and {num_images} are wanted; ask for a lower threshold, or for an `acceptance_rate`"
        )
