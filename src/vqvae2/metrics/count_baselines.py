"""What codes cost without a network, by counts of training codes: a prior that is no better has learned nothing.

Both baselines are smoothed, so that a code that training images never used has a finite cost.
Shapes: N images, h x w code grid of a level, K codes of its codebook.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqvae2.data import CodeStore, evenly_spread

__all__ = ["LevelBaselines", "given_above_nats_per_code", "measure_baselines", "unigram_nats_per_code"]

# At most so many training codes are counted, of evenly spread images: enough for every pair of codes of two codebooks
# of 512 to be seen 64 times on average, and sorted within two seconds.
_MOST_COUNTED = 2**24


class LevelBaselines(NamedTuple):
    """Mean cost of a held-out code of one level, in nats, by counts of training codes."""

    unigram_nats_per_code: float
    """By how frequent each code of the level is."""
    given_above_nats_per_code: float | None
    """By how frequent it is where the level above has the code that lies over it; None at the top."""


def measure_baselines(codes: CodeStore) -> tuple[LevelBaselines, ...]:
    """Count the training codes of a store, and give what its validation codes cost by them. Levels: top first."""
    held_out = codes.indices("validation")
    baselines = []
    for level, (height, width) in enumerate(codes.shapes):
        train = evenly_spread(codes.indices("train"), most=max(1, _MOST_COUNTED // (height * width)))
        own, size = codes.maps[level][:, 0], codes.num_embeddings[level]
        given_above = None
        if level > 0:
            above = codes.maps[level - 1][:, 0]
            given_above = given_above_nats_per_code(
                own[train], own[held_out], train_above=above[train], held_out_above=above[held_out], num_embeddings=size
            )
        unigram = unigram_nats_per_code(own[train], own[held_out], num_embeddings=size)
        baselines.append(LevelBaselines(unigram, given_above))
    return tuple(baselines)


def unigram_nats_per_code(train: np.ndarray, held_out: np.ndarray, *, num_embeddings: int) -> float:
    """Give the mean cost of held-out codes by the frequency of each code: `p(k) = (n_k + 1) / (n + K)`.

    Training codes are counted, held-out ones predicted; both are integers of any shape in 0..K-1.
    """
    return float(-np.log(_unigram(train, num_embeddings)[held_out]).mean())


def given_above_nats_per_code(
    train: np.ndarray,
    held_out: np.ndarray,
    *,
    train_above: np.ndarray,
    held_out_above: np.ndarray,
    num_embeddings: int,
) -> float:
    """Give the mean cost of held-out codes by the frequency of each code under the code above it.

    `p(k | a) = (n_ak + K p(k)) / (n_a + K)`: the mean under a Dirichlet prior that is centred on the unigram `p(k)`
    and weighs as much as K codes, so a code above that was never seen leaves the unigram. On the validation codes of
    the demo (K = 256), a weight of K costs the least among powers of two, and half or twice as much at most 0.02 nats
    more. Codes are integers `(N, h, w)` in 0..K-1, those above `(N, h / f, w / f)` of the same images for a whole `f`.
    """
    pairs, counts = np.unique(_pairs(train, train_above, num_embeddings), return_counts=True)
    wanted = _pairs(held_out, held_out_above, num_embeddings)
    places = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    num_pairs = np.where(pairs[places] == wanted, counts[places], 0)
    above = wanted // num_embeddings
    num_above = np.bincount(pairs // num_embeddings, weights=counts, minlength=int(above.max()) + 1)[above]
    prior = num_embeddings * _unigram(train, num_embeddings)[held_out]
    return float(-np.log((num_pairs + prior) / (num_above + num_embeddings)).mean())


def _unigram(codes: np.ndarray, num_embeddings: int) -> np.ndarray:
    """Probabilities of all codes, float64 `(K,)`."""
    counts = np.bincount(codes.reshape(-1), minlength=num_embeddings)
    probabilities: np.ndarray = (counts + 1.0) / (codes.size + num_embeddings)
    return probabilities


def _pairs(codes: np.ndarray, above: np.ndarray, num_embeddings: int) -> np.ndarray:
    """Number each code together with the code above it: int64 `(N, h, w)`."""
    factors = (codes.shape[1] // above.shape[1], codes.shape[2] // above.shape[2])
    over: np.ndarray = above.astype(np.int64).repeat(factors[0], axis=1).repeat(factors[1], axis=2)
    return over * num_embeddings + codes
