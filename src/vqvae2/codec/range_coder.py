"""A range coder over integer counts: `constriction`'s, with the shortest possible end.

Range coding (Martin 1979) with a state of 64 bits and words of 32, see `docs/bitstream.md`.

Shapes: n codes in a row, K codes to choose from.
"""

from __future__ import annotations

import constriction
import numpy as np

from vqvae2.errors import BitstreamError

__all__ = ["RangeDecoder", "RangeEncoder"]

_WORD_BYTES = 4
_STATE_BITS = 64

# `constriction` gives every code a count of its own before it shares out the rest by floating point. Given whole
# numbers that sum to exactly that rest, it shares out these, so its counts are ours. The tests hold it to that.
_Categorical = constriction.stream.model.Categorical


class RangeEncoder:
    """Turns codes into bytes, given the counts of each."""

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
        for num_zeros in range(_STATE_BITS // 8, -1, -1):
            unit = 1 << (8 * num_zeros)
            number = -(-start // unit) * unit
            if number < start + width:
                return number.to_bytes(num_bytes, "big").rstrip(b"\0")
        raise AssertionError("an interval holds its own start")


class RangeDecoder:
    """Turns bytes back into codes, one at a time."""

    def __init__(self, payload: bytes) -> None:
        num_words = -(-len(payload) // _WORD_BYTES) + _STATE_BITS // 8 // _WORD_BYTES
        words = np.frombuffer(payload.ljust(_WORD_BYTES * num_words, b"\0"), dtype=">u4")
        self._decoder = constriction.stream.queue.RangeDecoder(words.astype(np.uint32))

    def decode(self, counts: np.ndarray) -> int:
        """Take the next code, given its counts, int64 `(K,)`.

        Raises:
            BitstreamError: If the bytes are no encoder's.
        """
        try:
            return int(self._decoder.decode(_Categorical((counts - 1).astype(np.float64), lazy=True, perfect=False)))
        except AssertionError as error:
            raise BitstreamError(
                "the coded data is no encoder's: the file is damaged, or was coded with other probabilities"
            ) from error
