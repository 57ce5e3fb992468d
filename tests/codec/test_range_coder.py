"""The range coder: what it writes, another one reads, and it ends as early as can be."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.codec.entropy import RangeDecoder, RangeEncoder
from vqvae2.errors import BitstreamError

TOTAL = 2**24


@st.composite
def messages(draw):
    """Codes, and counts for each, from even to as uneven as they can be."""
    num_embeddings, length = draw(st.integers(2, 40)), draw(st.integers(0, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shares = generator.dirichlet(np.full(num_embeddings, draw(st.sampled_from((0.01, 0.1, 1.0, 100.0)))), size=length)
    counts = 1 + np.floor(shares * (TOTAL - num_embeddings)).astype(np.int64)
    counts[np.arange(length), counts.argmax(axis=1)] += TOTAL - counts.sum(axis=1)
    likely = draw(st.booleans())
    codes = counts.argmax(axis=1) if likely else generator.integers(0, num_embeddings, length)
    return codes, counts


@settings(max_examples=300)
@given(messages())
def test_codes_come_back_from_both_decoders_and_end_as_early_as_information_allows(reference, message):
    codes, counts = message
    encoder = RangeEncoder()
    encoder.encode(codes, counts)
    payload = encoder.finish()
    ours, second = RangeDecoder(payload), reference.RangeDecoder(payload)
    assert ours.decode(counts).tolist() == codes.tolist()
    assert [second.decode(shares) for shares in counts.tolist()] == codes.tolist()
    bits = sum(math.log2(TOTAL / shares[code]) for code, shares in zip(codes, counts, strict=True))
    assert len(payload) <= math.ceil(bits / 8 + 0.001 * len(codes)) + (bits > 0)


def test_codes_can_be_given_and_taken_in_parts():
    counts = np.full((7, 4), TOTAL // 4)
    codes = np.array([0, 3, 1, 2, 2, 0, 1])
    whole, parts = RangeEncoder(), RangeEncoder()
    whole.encode(codes, counts)
    parts.encode(codes[:3], counts[:3])
    parts.encode(codes[3:], counts[3:])
    payload = whole.finish()
    assert parts.finish() == payload
    decoder = RangeDecoder(payload)
    assert [*decoder.decode(counts[:2]), *decoder.decode(counts[2:])] == codes.tolist()


def test_what_no_encoder_wrote_is_refused_or_decodes_to_something():
    counts = np.tile([1, TOTAL - 2, 1], (200, 1))
    refused = 0
    for seed in range(300):
        decoder = RangeDecoder(np.random.default_rng(seed).bytes(12))
        try:
            assert set(decoder.decode(counts).tolist()) <= {0, 1, 2}
        except BitstreamError:
            refused += 1
    assert refused < 300
    with pytest.raises(BitstreamError, match="no encoder's"):
        RangeDecoder(b"\xff" * 12).decode(counts)
