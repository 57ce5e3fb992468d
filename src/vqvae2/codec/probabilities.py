"""Probabilities that are the same on every machine: integer counts out of a prior's logits.

A coder needs its two ends to agree on every probability to the last bit, and floating point does not give that: sums
are taken in another order under another batch size, thread count or instruction set. So logits, which are computed in
float64 and differ by some 1e-14 there, are rounded to a grid, and from the grid on there are only integers.

Shapes: K codes; "..." any leading axes.
"""

from __future__ import annotations

import functools
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import numpy as np

__all__ = ["GUARD_STEPS", "OFFSETS_PER_STEP", "PRECISION_BITS", "integer_counts", "round_logits", "rounding_margins"]

PRECISION_BITS = 24
"""Counts sum to two to this power."""
STEPS_PER_NAT = 64
"""Fineness of the grid that logits are rounded to."""
OFFSETS_PER_STEP = 256
"""Fineness of the places where that grid may lie."""
GUARD_STEPS = 2.0**-30
"""How near, in steps, a logit may come to where rounding changes: 1.5e-11 nats, a thousand times what machines were
seen to differ by. An encoder that meets a nearer one moves the grid."""

_MOST_NATS = 2.0**12  # beyond, the steps of float64 itself come near to the guard


def round_logits(logits: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Round logits to the grid.

    Args:
        logits: float64 `(..., K)`.
        offsets: By how much the grid is moved, in 1/256 of its step; broadcasts to `(..., 1)`.

    Returns:
        The nearest steps, int64 `(..., K)`.

    Raises:
        ValueError: If a logit is not finite, or beyond 4,096 nats.
    """
    return np.rint(_scale(logits, offsets)).astype(np.int64)


def rounding_margins(logits: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Say how near logits come to where another step would be the nearest.

    Args:
        logits: float64 `(..., K)`.
        offsets: As for `round_logits`, and so is what is raised.

    Returns:
        The least distance of those logits on which a count depends, in steps, float64 `(...)` in 0..0.5.
    """
    scaled = _scale(logits, offsets)
    nearest = np.rint(scaled)
    margins = 0.5 - np.abs(scaled - nearest)
    counted = nearest.max(axis=-1, keepdims=True) - nearest < len(_exponentials())
    least: np.ndarray = margins.min(axis=-1, where=counted, initial=0.5)
    return least


def integer_counts(steps: np.ndarray) -> np.ndarray:
    """Turn rounded logits into counts, by integer arithmetic alone.

    Args:
        steps: int64 `(..., K)`, with K at most 65,536.

    Returns:
        int64 `(..., K)`: at least 1 each, and in sum 2^24.
    """
    table = _exponentials()
    below_best = steps.max(axis=-1, keepdims=True) - steps
    weights = table[np.minimum(below_best, len(table) - 1)]
    free = (1 << PRECISION_BITS) - steps.shape[-1]  # one of each code's counts is not up for distribution
    counts = weights * free // weights.sum(axis=-1, keepdims=True)
    rest = free - counts.sum(axis=-1, keepdims=True)
    best = steps.argmax(axis=-1, keepdims=True)  # the first of equals
    np.put_along_axis(counts, best, np.take_along_axis(counts, best, axis=-1) + rest, axis=-1)
    return counts + 1


def _scale(logits: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    if not np.abs(logits).max() < _MOST_NATS:  # so written, it catches what is not a number too
        raise ValueError("`logits` must be finite and below 4096 nats; the prior's weights are broken, train it again")
    scaled: np.ndarray = logits * STEPS_PER_NAT + offsets / OFFSETS_PER_STEP
    return scaled


@functools.cache
def _exponentials() -> np.ndarray:
    """The table 2^24 exp(-n / 64) for n = 0, 1, ..., rounded to integers, up to its first 0.

    It comes from decimal arithmetic, which is exact to the last digit everywhere, as `exp` of a C library is not.
    """
    values: list[int] = []
    with localcontext(prec=40):
        while not values or values[-1]:
            exponential = (Decimal(-len(values)) / STEPS_PER_NAT).exp()
            values.append(int((exponential * 2**PRECISION_BITS).to_integral_value(ROUND_HALF_EVEN)))
    return np.array(values, dtype=np.int64)
