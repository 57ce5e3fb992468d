"""Which images go into which batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

__all__ = ["ShuffledBatches", "evenly_spread", "ordered_batches"]


class ShuffledBatches(Sampler[list[int]]):
    """Batches for training: every epoch in another order, each a function of seed and step alone.

    Epochs follow each other without a break, so batches may cross from one to the next, every image comes equally
    often, and a set smaller than a batch repeats. A training that goes on from a step sees just the batches that
    it would have seen.

    Args:
        indices: Numbers of the images.
        batch_size: Images a batch.
        seed: Of the order.
        num_steps: Batches of the whole training.
        start_step: Batches to leave out, because they were seen.
    """

    def __init__(self, indices: np.ndarray, *, batch_size: int, seed: int, num_steps: int, start_step: int = 0) -> None:
        self._indices = np.asarray(indices)
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
                    order = np.random.default_rng((self._seed, epoch)).permutation(self._indices)
                offset = position % size
                batch.extend(order[offset : offset + end - position].tolist())
                position += min(size - offset, end - position)
            yield batch


def ordered_batches(indices: Sequence[int] | np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut numbers into batches, in their order; the last may be smaller."""
    array = np.asarray(indices)
    for start in range(0, len(array), batch_size):
        yield array[start : start + batch_size]


def evenly_spread(indices: np.ndarray, *, most: int) -> np.ndarray:
    """Take every n-th number, with the smallest n that leaves at most `most` of them."""
    return indices[:: max(1, -(-len(indices) // most))]
