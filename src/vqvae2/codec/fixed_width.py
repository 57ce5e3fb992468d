"""Codes as they are, with as many bits each as the codebook needs.

Shapes: n codes in raster order, K codes in the codebook.
"""

from __future__ import annotations

import numpy as np

from vqvae2.errors import BitstreamError

__all__ = ["code_bits", "pack_codes", "packed_bytes", "unpack_codes"]


def code_bits(num_embeddings: int) -> int:
    """Bits that tell K codes apart."""
    return (num_embeddings - 1).bit_length()


def packed_bytes(count: int, num_embeddings: int) -> int:
    """Bytes that `pack_codes` takes for so many codes."""
    return -(-count * code_bits(num_embeddings) // 8)


def pack_codes(codes: np.ndarray, num_embeddings: int) -> bytes:
    """Write codes `(n,)` one after the other, the highest bit first; the last byte is filled up with zeros."""
    places = np.arange(code_bits(num_embeddings) - 1, -1, -1)
    bits = (codes[:, None] >> places) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def unpack_codes(payload: bytes, count: int, num_embeddings: int) -> np.ndarray:
    """Read `count` codes again, from `packed_bytes` bytes: int64 `(n,)`.

    Raises:
        BitstreamError: If the payload is not exactly what `pack_codes` writes for codes of 0..K-1.
    """
    width = code_bits(num_embeddings)
    assert len(payload) == packed_bytes(count, num_embeddings), "`HierarchyCoder.check` refuses other lengths"
    bits = np.unpackbits(np.frombuffer(payload, dtype=np.uint8))
    places = 1 << np.arange(width - 1, -1, -1)
    codes: np.ndarray = bits[: count * width].reshape(count, width).astype(np.int64) @ places
    if codes.max(initial=0) >= num_embeddings or bits[count * width :].any():
        raise BitstreamError(
            f"a code in the file is not in 0..{num_embeddings - 1}, or is followed by what is no code; "
            "the file is damaged, or belongs to another tokenizer"
        )
    return codes
