"""Which images go into which batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vqvae2.data.sources.source import ReadingUnits

__all__ = ["ShuffledBatches", "evenly_spread", "ordered_batches"]


class ShuffledBatches:
    """Batches for training: every epoch in another order, each a function of seed and step alone.

    Epochs follow each other without a break: a batch may cross from one to the next, every image comes equally often,
    and a set smaller than a batch repeats. Training that resumes at a step sees the batches that an unbroken training
    would have seen.

    Where images are best read together with their neighbours (`units`), the order is drawn twice: the units are
    shuffled, then all images within each window of units. So only one window of units is read at a time, or two where
    a batch crosses from one to the next.

    Args:
        indices: Numbers of the images.
        batch_size: Images per batch.
        seed: Seed of the order.
        num_steps: Batches of the whole training.
        start_step: First step; the batches before it are left out.
        units: Units of all images of the source, not only of `indices`; None shuffles over everything.
    """

    def __init__(
        self,
        indices: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        num_steps: int,
        start_step: int = 0,
        units: ReadingUnits | None = None,
    ) -> None:
        self._indices, self._units = np.asarray(indices), units
        self._batch_size = batch_size
        self._seed = seed
        self._steps = range(start_step, num_steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[int]]:
        size = len(self._indices)
        epoch, order = -1, self._indices
        for step in self._steps:
            batch: list[int] = []
            position, end = step * self._batch_size, (step + 1) * self._batch_size
            while position < end:
                if position // size != epoch:
                    epoch = position // size
                    order = self._order(epoch)
                offset = position % size
                batch.extend(order[offset : offset + end - position].tolist())
                position += min(size - offset, end - position)
            yield batch

    def _order(self, epoch: int) -> np.ndarray:
        generator = np.random.default_rng((self._seed, epoch))
        if self._units is None:
            return generator.permutation(self._indices)
        distinct, unit = np.unique(self._units.numbers[self._indices], return_inverse=True)
        window = generator.permutation(len(distinct))[unit] // self._units.window
        return self._indices[np.lexsort((generator.random(len(unit)), window))]


def ordered_batches(indices: Sequence[int] | np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut numbers into batches in their order; the last may be smaller."""
    array = np.asarray(indices)
    for start in range(0, len(array), batch_size):
        yield array[start : start + batch_size]


def evenly_spread(indices: np.ndarray, *, most: int) -> np.ndarray:
    """Take every n-th number, with the smallest n that leaves at most `most` of them."""
    return indices[:: max(1, -(-len(indices) // most))]
