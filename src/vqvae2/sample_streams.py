"""Draw more images than memory holds: batch after batch, as they come or the best of them.

Shapes: B images of a batch, C channels, H x W pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vqvae2.config import SamplingConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.images import from_pixels, to_pixels
from vqvae2.listener import Listener, Silence, batch_progress
from vqvae2.models.classifier import Classifier
from vqvae2.pipeline import Pipeline
from vqvae2.rejection import AboveThreshold, AcceptanceRule, BestFraction, intended_probability, num_candidates
from vqvae2.training.task import Progress

__all__ = ["DrawnSample", "sample_accepted", "sample_all"]

# A threshold under which fewer candidates than this pass is taken for a mistake, and not waited for.
_LOWEST_RATE = 1e-3


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
    compile: bool = False,
    listener: Listener | None = None,
) -> Iterator[DrawnSample]:
    """Draw images one batch after the other, and keep them all.

    Args:
        pipeline: With priors.
        num_images: How many; None goes on for ever.
        seed: As for `Pipeline.sample`, and so are all further ones.
        first_image: As above.
        label: As above; a tensor of labels has one for each of `num_images`.
        config: As above.
        batch_size: Images at a time.
        compile: Whether the walks' steps are compiled.
        listener: Is told how many codes are drawn, if `num_images` says of how many.

    Yields:
        The images, by number.

    Raises:
        CheckpointError: If the pipeline has no priors.
        ConfigError: If `batch_size`, `label` or the config does not fit.
    """
    if batch_size < 1 or (num_images is not None and num_images < 1):
        raise ConfigError(f"`num_images` and `batch_size` must be above 0, got {num_images}, {batch_size}")
    batches: Iterable[int] = itertools.count(0, batch_size) if num_images is None else range(0, num_images, batch_size)
    for before in batches:
        count = batch_size if num_images is None else min(batch_size, num_images - before)
        chosen = label[before : before + count] if isinstance(label, Tensor) else label
        progress = None
        if num_images is not None:
            progress = batch_progress(listener or Silence(), before=before, count=count, num_images=num_images)
        images = pipeline.sample(
            count,
            seed=seed,
            first_image=first_image + before,
            label=chosen,
            config=config,
            on_progress=progress,
            compile=compile,
        )
        labels = pipeline.labels(count, seed=seed, first_image=first_image + before, label=chosen)
        # What is judged later is what is kept: whole steps of brightness.
        pixels = to_pixels(images, bit_depth=pipeline.config.bit_depth).cpu()
        for index in range(count):
            yield DrawnSample(
                number=first_image + before + index,
                pixels=pixels[index],
                label=None if labels is None else int(labels[index]),
                num_drawn=before + index + 1,
            )


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
    compile: bool = False,
    listener: Listener | None = None,
) -> Iterator[DrawnSample]:
    """Draw images, and keep those that a classifier takes for what they were meant to be; see `vqvae2.rejection`.

    With an `acceptance_rate`, `num_images / acceptance_rate` images are drawn, and those kept are at any time the best
    so far of each class: an image that is yielded may displace an earlier one. With a `threshold`, images are drawn
    until enough of them pass. Never more than a batch of images is held.

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
    candidates = sample_all(
        pipeline,
        total,
        seed=seed,
        first_image=first_image,
        label=label,
        config=config,
        batch_size=batch_size,
        compile=compile,
        listener=listener,
    )
    kept = 0
    for sample in _scored(candidates, classifier, pipeline, batch_size=batch_size):
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


def _scored(
    samples: Iterator[DrawnSample], classifier: Classifier, pipeline: Pipeline, *, batch_size: int
) -> Iterator[DrawnSample]:
    """Add the classifier's scores, a batch at a time."""
    while batch := list(itertools.islice(samples, batch_size)):
        images = from_pixels(torch.stack([sample.pixels for sample in batch]).to(pipeline.device))
        labels = torch.tensor([sample.label for sample in batch])
        scores = intended_probability(classifier, images, labels, num_classes=len(pipeline.config.classes))
        for sample, score in zip(batch, scores.tolist(), strict=True):
            yield replace(sample, score=score)


def _check_rate(kept: int, num_images: int, drawn: int, threshold: float | None) -> None:
    if drawn * _LOWEST_RATE > max(1, kept) and drawn >= num_images:
        raise ConfigError(
            f"only {kept} of {drawn:,} images had a probability of `threshold` {threshold} or more, "
            f"and {num_images} are wanted; ask for a lower threshold, or for an `acceptance_rate`"
        )
