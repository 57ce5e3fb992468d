"""Entropy coding of one level's codes, by probabilities that are the same on every machine.

A coder needs its two ends to agree on every probability to the last bit, and floating point does not give that: another
batch size, thread count or instruction set sums in another order. So logits, which are computed in float64 and differ
between machines by some 1e-14, are rounded to a grid, and from the grid on there are only integers.

The encoder steps the prior exactly as the decoder will, front by front. One parallel pass would be faster, but its
logits differ from those of the steps by more than two machines do.

Shapes: B images, n codes in a row or positions of a front, K codes in the codebook; "..." any leading axes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import constriction
import numpy as np
import torch
from torch import Tensor

from vqvae2.errors import BitstreamError

__all__ = [
    "GUARD_STEPS",
    "OFFSETS_PER_STEP",
    "PRECISION_BITS",
    "STEPS_PER_NAT",
    "LevelDecoder",
    "LevelEncoder",
    "RangeDecoder",
    "RangeEncoder",
    "integer_counts",
    "round_logits",
    "rounding_margins",
]

PRECISION_BITS = 24
"""Counts sum to two to this power."""
STEPS_PER_NAT = 64
"""Fineness of the grid that logits are rounded to."""
OFFSETS_PER_STEP = 256
"""Fineness of the places where that grid may lie."""
GUARD_STEPS = 2.0**-30
"""How near, in steps, a logit may come to where rounding changes: 1.5e-11 nats, hundreds of times the largest
difference that was seen between kernels. An encoder that meets a nearer one moves the grid."""

_MOST_NATS = 2.0**12  # beyond, the steps of float64 itself come near to the guard
_MOST_LOGITS = 1 << 20  # to keep before they are coded: 8 MiB
_WORD_BYTES = 4
_STATE_BITS = 64

# `constriction` gives every code a count of 1, and shares out the rest by floating point. It shares out whole numbers
# that sum to exactly that rest as they are, so its counts are ours. The tests hold it to that.
_Categorical = constriction.stream.model.Categorical


def round_logits(logits: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Round logits to the grid.

    Args:
        logits: float64 `(..., K)`.
        offsets: How far the grid is moved, in 1/256 of its step; broadcasts to `(..., 1)`.

    Returns:
        The nearest steps, int64 `(..., K)`.

    Raises:
        ValueError: If a logit is not finite, or beyond 4,096 nats.
    """
    return np.rint(_scale(logits, offsets)).astype(np.int64)


def rounding_margins(logits: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Measure how near logits come to where another step would be the nearest; see `round_logits`.

    Returns:
        The least distance among those logits on which a count depends, in steps, float64 `(...)` in 0..0.5.
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
    free = (1 << PRECISION_BITS) - steps.shape[-1]  # each code has one count that is not shared out
    counts = weights * free // weights.sum(axis=-1, keepdims=True)
    # What rounding down leaves goes to the likeliest code, the first of equals.
    rest = free - counts.sum(axis=-1, keepdims=True)
    best = steps.argmax(axis=-1, keepdims=True)
    np.put_along_axis(counts, best, np.take_along_axis(counts, best, axis=-1) + rest, axis=-1)
    return counts + 1


def _scale(logits: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    if not np.abs(logits).max() < _MOST_NATS:  # written so, it also catches what is not a number
        raise ValueError("`logits` must be finite and below 4096 nats; the prior's weights are broken, train it again")
    scaled: np.ndarray = logits * STEPS_PER_NAT + offsets / OFFSETS_PER_STEP
    return scaled


@functools.cache
def _exponentials() -> np.ndarray:
    """The table 2^24 exp(-n / 64) for n = 0, 1, ..., rounded to integers, up to its first 0.

    Decimal arithmetic is exact to the last digit everywhere, unlike `exp` of a C library.
    """
    values: list[int] = []
    with localcontext(prec=40):
        while not values or values[-1]:
            exponential = (Decimal(-len(values)) / STEPS_PER_NAT).exp()
            values.append(int((exponential * 2**PRECISION_BITS).to_integral_value(ROUND_HALF_EVEN)))
    return np.array(values, dtype=np.int64)


class RangeEncoder:
    """Turns codes into bytes, given the counts of each.

    Range coding (Martin 1979) with a state of 64 bits and words of 32, see `docs/bitstream.md`.
    """

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()
        self._family = _Categorical(perfect=False)

    def encode(self, codes: np.ndarray, counts: np.ndarray) -> None:
        """Append codes `(n,)`, each with its counts, int64 `(n, K)`, which are at least 1 and sum to 2^24."""
        self._encoder.encode(codes.astype(np.int32), self._family, (counts - 1).astype(np.float64))

    def finish(self) -> bytes:
        """Give the shortest bytes that decode to all codes; beyond its end, a decoder reads zeros.

        Any number in the coder's last interval will do, and one that ends with many zeros is short.
        """
        num_words, (lower, width) = self._encoder.pos()
        num_bytes = _WORD_BYTES * num_words + _STATE_BITS // 8
        sealed = self._encoder.get_compressed().astype(">u4").tobytes().ljust(num_bytes, b"\0")
        inside = int.from_bytes(sealed, "big")
        start = inside - (inside - lower) % (1 << _STATE_BITS)
        units = (1 << num_bits for num_bits in range(_STATE_BITS, -1, -8))
        number = next(number for unit in units if (number := -(-start // unit) * unit) < start + width)
        return number.to_bytes(num_bytes, "big").rstrip(b"\0")


class RangeDecoder:
    """Turns bytes back into codes."""

    def __init__(self, payload: bytes) -> None:
        num_words = -(-len(payload) // _WORD_BYTES) + _STATE_BITS // 8 // _WORD_BYTES
        words = np.frombuffer(payload.ljust(_WORD_BYTES * num_words, b"\0"), dtype=">u4")
        self._decoder = constriction.stream.queue.RangeDecoder(words.astype(np.uint32))
        self._family = _Categorical(perfect=False)

    def decode(self, counts: np.ndarray) -> np.ndarray:
        """Take the next codes `(n,)`, given the counts of each, int64 `(n, K)`.

        Raises:
            BitstreamError: If no encoder wrote the bytes.
        """
        try:
            codes: np.ndarray = self._decoder.decode(self._family, (counts - 1).astype(np.float64))
        except AssertionError as error:
            raise BitstreamError(
                "the coded data is no encoder's: the file is damaged, or was coded with other probabilities"
            ) from error
        return codes


class LevelEncoder:
    """Encodes one level of B images while a prior is walked over their codes.

    Logits of some fronts are kept and coded together, so that a device is waited for once per many steps.

    Args:
        codes: int64 `(B, h, w)` on the prior's device.
        offset: Where the grid of logits lies, see `round_logits`.
        on_codes: Receives how many codes, of all images together, were just coded.
    """

    def __init__(self, codes: Tensor, offset: int, on_codes: Callable[[int], None]) -> None:
        self._codes = codes.flatten(1)
        self._offset, self._on_codes = np.array([offset]), on_codes
        self._coders = [RangeEncoder() for _ in codes]
        self._kept: list[tuple[Tensor, Tensor]] = []  # codes and logits
        self.margins = np.full(len(codes), 0.5)
        """How near a logit of each image came to where its rounding changes, in steps, float64 `(B,)`."""

    def choose(self, positions: Tensor, logits: Tensor) -> Tensor:
        """Take the known codes of a front: the `choose` of the walk."""
        codes = self._codes[:, positions]
        self._kept.append((codes, logits.clone()))
        if sum(kept.numel() for _, kept in self._kept) >= _MOST_LOGITS:
            self._encode_kept()
        return codes

    def finish(self) -> list[bytes]:
        """Give the payload of each image."""
        if self._kept:
            self._encode_kept()
        return [coder.finish() for coder in self._coders]

    def _encode_kept(self) -> None:
        codes, logits = (torch.cat(parts, dim=1).cpu().numpy() for parts in zip(*self._kept, strict=True))
        self._kept.clear()
        counts = integer_counts(round_logits(logits, self._offset))
        for coder, image_codes, image_counts in zip(self._coders, codes, counts, strict=True):
            coder.encode(image_codes, image_counts)
        self.margins = np.minimum(self.margins, rounding_margins(logits, self._offset).min(axis=1))
        self._on_codes(codes.size)


class LevelDecoder:
    """Decodes one level of B images while a prior is walked; the counterpart of `LevelEncoder`.

    Bytes that no encoder wrote may decode to anything, so the check of the codes must tell.

    Args:
        payloads: One per image.
        offsets: Where the grid of each image's logits lies, int64 `(B,)`.
        on_codes: Receives how many codes, of all images together, were just decoded.
    """

    def __init__(self, payloads: Sequence[bytes], offsets: np.ndarray, on_codes: Callable[[int], None]) -> None:
        self._coders: list[RangeDecoder | None] = [RangeDecoder(payload) for payload in payloads]
        self._offsets, self._on_codes = offsets[:, None, None], on_codes

    def choose(self, positions: Tensor, logits: Tensor) -> Tensor:
        """Decode the codes of a front: the `choose` of the walk.

        Raises:
            BitstreamError: If it is plain for all images that no encoder wrote their payloads.
        """
        counts = integer_counts(round_logits(logits.cpu().numpy(), self._offsets))
        codes = np.zeros(counts.shape[:2], dtype=np.int64)
        for image, coder in enumerate(self._coders):
            if coder is not None:
                try:
                    codes[image] = coder.decode(counts[image])
                except BitstreamError:
                    self._coders[image] = None  # the other images go on; the check of this one will fail
                    if not any(self._coders):
                        raise
        self._on_codes(codes.size)
        return torch.from_numpy(codes).to(logits.device)
