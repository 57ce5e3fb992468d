"""Draw more images than memory holds, batch after batch: all of them, or the best.

Shapes: B images of a batch, C channels, H x W pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.images import from_pixels, to_pixels
from vqvae2.models.classifier import Classifier
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.pipeline.rejection import BestFraction, intended_probability, num_candidates
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.system.processes import spread

__all__ = ["Candidate", "DrawnSample", "sample_accepted", "sample_all"]

# A threshold that fewer candidates than this pass is taken for a mistake.
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
    """Probability of that class by the classifier, if there is one."""
    displaced: int | None = None
    """Number of an earlier image that is no longer kept, since this one is better."""
    num_drawn: int
    """Images drawn and judged so far, this one included."""


def sample_all(
    pipeline: Pipeline,
    num_images: int | None,
    request: DrawRequest = DrawRequest(),
    *,
    batch_size: int = 64,
    num_before: int = 0,
    hooks: Hooks = Hooks(),
) -> Iterator[DrawnSample]:
    """Draw images batch after batch, and keep them all.

    Several processes draw a batch each at the same time, and every process receives all images.

    Args:
        pipeline: With priors.
        num_images: How many; None goes on for ever.
        request: What to draw, see `Pipeline.sample`; a tensor of labels holds one for each of `num_images`.
        batch_size: Images per batch.
        num_before: How many images to leave out, because an earlier call gave them; whole batches.
        hooks: Receive progress in codes of all images, if `num_images` says how many there are.

    Yields:
        The images, by number.

    Raises:
        CheckpointError: If the pipeline has no priors.
        ConfigError: If `num_images`, `batch_size` or the request does not fit.
    """
    return _Stream(pipeline, num_images, request, batch_size, hooks).draw(num_before)


def sample_accepted(
    pipeline: Pipeline,
    classifier: Classifier,
    num_images: int,
    request: DrawRequest = DrawRequest(),
    *,
    acceptance_rate: float | None = None,
    threshold: float | None = None,
    batch_size: int = 64,
    num_before: int = 0,
    kept_before: Sequence[Candidate] = (),
    hooks: Hooks = Hooks(),
) -> Iterator[DrawnSample]:
    """Draw images, and keep those that a classifier takes for what they are meant to be.

    With an `acceptance_rate`, `num_images / acceptance_rate` images are drawn, and at any time those kept are the best
    so far of each class (see `BestFraction`): an image that is yielded may displace an earlier one. With a `threshold`,
    images are drawn until enough of them pass. Memory holds one batch at most.

    Args:
        pipeline: With priors and classes.
        classifier: With the pipeline's classes in their order, in evaluation mode, on its device.
        num_images: How many to keep.
        request: What to draw, see `Pipeline.sample`.
        acceptance_rate: The fraction to keep, above 0 and at most 1.
        threshold: The least probability of the intended class, in 0..1; give this or the rate.
        batch_size: Images per batch.
        num_before: How many images an earlier call drew; whole batches.
        kept_before: Those that it kept.
        hooks: Receive progress in codes of all images; with a threshold, in images kept.

    Yields:
        The images that are kept, at least for now.

    Raises:
        CheckpointError: If the pipeline has no priors or no classes.
        ConfigError: If an argument or the classifier does not fit, or nearly nothing passes the threshold.
    """
    if not pipeline.config.classes:
        raise CheckpointError("this pipeline has no classes to judge by; train one on images in folders, one per class")
    if (acceptance_rate is None) == (threshold is None):
        raise ConfigError(
            "either `acceptance_rate` or `threshold` must be given, "
            f"got {'neither' if threshold is None else 'both'}; leave one out"
        )
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ConfigError(f"`threshold` must be in 0..1, got {threshold}")
    if acceptance_rate is None:
        assert threshold is not None
        candidates = _Stream(pipeline, None, request, batch_size, hooks, classifier).draw(num_before)
        return _keep_passing(candidates, threshold, num_images, len(kept_before), hooks)
    total = num_candidates(num_images, acceptance_rate)
    labels = pipeline.labels(total, request)
    assert labels is not None
    best = BestFraction(labels, num_images)
    for candidate in kept_before:
        best.offer(candidate.number, label=candidate.label, score=candidate.score)
    return _keep_best(_Stream(pipeline, total, request, batch_size, hooks, classifier).draw(num_before), best)


def _keep_best(candidates: Iterator[DrawnSample], best: BestFraction) -> Iterator[DrawnSample]:
    for candidate in candidates:
        assert candidate.label is not None
        assert candidate.score is not None
        decision = best.offer(candidate.number, label=candidate.label, score=candidate.score)
        if decision.is_kept:
            yield replace(candidate, displaced=decision.displaced)


def _keep_passing(
    candidates: Iterator[DrawnSample], threshold: float, num_images: int, num_kept: int, hooks: Hooks
) -> Iterator[DrawnSample]:
    for candidate in candidates:
        assert candidate.score is not None
        if candidate.score >= threshold:
            num_kept += 1
            yield candidate
        if hooks.on_progress is not None:
            hooks.on_progress(num_kept, num_images)
        if num_kept == num_images:
            return
        if candidate.num_drawn >= num_images and candidate.num_drawn * _LOWEST_RATE > max(1, num_kept):
            raise ConfigError(
                f"only {num_kept} of {candidate.num_drawn:,} images had a probability of `threshold` {threshold} or "
                f"more, and {num_images} are wanted; ask for a lower threshold, or for an `acceptance_rate`"
            )


@dataclass(frozen=True)
class _Stream:
    """Draws batches, and scores them if there is a classifier."""

    pipeline: Pipeline
    num_images: int | None
    request: DrawRequest
    batch_size: int
    hooks: Hooks
    classifier: Classifier | None = None

    def draw(self, num_before: int) -> Iterator[DrawnSample]:
        size, total = self.batch_size, self.num_images
        if size < 1 or (total is not None and total < 1):
            raise ConfigError(f"`num_images` and `batch_size` must be above 0, got {total}, {size}")
        starts = itertools.count(num_before, size) if total is None else range(num_before, total, size)
        return itertools.chain.from_iterable(spread(starts, self._draw_batch))

    def _draw_batch(self, start: int) -> list[DrawnSample]:
        total, pipeline, label = self.num_images, self.pipeline, self.request.label
        count = self.batch_size if total is None else min(self.batch_size, total - start)
        request = replace(
            self.request,
            first_image=self.request.first_image + start,
            label=label[start : start + count] if isinstance(label, Tensor) else label,
        )
        hooks = Hooks()
        if total is not None:
            hooks = self.hooks.of_batch(before=start, num_images=count, total_images=total)
        images = pipeline.sample(count, request, hooks=hooks)
        labels = pipeline.labels(count, request)
        # The classifier judges what is kept: whole steps of brightness.
        pixels = to_pixels(images, bit_depth=pipeline.config.bit_depth)
        scores = None
        if self.classifier is not None:
            assert labels is not None
            scores = intended_probability(
                self.classifier, from_pixels(pixels), labels, num_classes=len(pipeline.config.classes)
            )
        return [
            DrawnSample(
                number=request.first_image + index,
                pixels=own_pixels.clone(),  # so that keeping or sending one image takes no more than its own bytes
                label=None if labels is None else int(labels[index]),
                score=None if scores is None else float(scores[index]),
                num_drawn=start + index + 1,
            )
            for index, own_pixels in enumerate(pixels.cpu())
        ]
