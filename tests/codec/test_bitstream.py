"""The container: what is written is read, in as few bytes as `docs/bitstream.md` says."""

import dataclasses
import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqvae2.codec.bitstream import MAX_CODED_PIXELS, Bitstream, Header, read_bitstream, write_bitstream
from vqvae2.codec.fixed_width import pack_codes, packed_bytes, unpack_codes
from vqvae2.errors import BitstreamError, ConfigError

HEADER = Header(
    size=(300, 20), channels=3, bit_depth=8, tokenizer="a0b1", priors="c2d3", label=5, offset=37, payload_bytes=(2, 130)
)
START = b"\x93VQ\x02"
STREAM = Bitstream(HEADER, (b"\x01\x02", b"z" * 130), (b"abc", b"def"))


@st.composite
def streams(draw):
    has_priors = draw(st.booleans())
    payloads = tuple(draw(st.lists(st.binary(max_size=200), min_size=1, max_size=16)))
    height = draw(st.integers(1, 2000))
    header = Header(
        size=(height, draw(st.integers(1, MAX_CODED_PIXELS // height))),
        channels=draw(st.integers(1, 16)),
        bit_depth=draw(st.sampled_from((8, 16))),
        tokenizer=draw(st.binary(min_size=2, max_size=2)).hex(),
        priors=draw(st.binary(min_size=2, max_size=2)).hex() if has_priors else "",
        label=draw(st.none() | st.integers(0, 2**21)),
        offset=draw(st.integers(0, 255)),
        payload_bytes=tuple(len(payload) for payload in payloads),
    )
    return Bitstream(header, payloads, tuple(draw(st.binary(min_size=3, max_size=3)) for _ in payloads))


@given(streams())
def test_what_is_written_is_read(reference, stream):
    data = write_bitstream(stream)
    assert read_bitstream(io.BytesIO(data)) == stream
    second, header = reference.parse(data), stream.header
    assert (second.size, second.channels, second.bits) == (header.size, header.channels, header.bit_depth)
    assert (second.tokenizer.hex(), second.priors.hex()) == (header.tokenizer, header.priors)
    assert (second.label, second.offset) == (header.label, header.offset)
    assert (second.payloads, second.checks) == (list(stream.payloads), list(stream.checks))


def test_the_bytes_are_those_of_the_specification():
    data = write_bitstream(STREAM)
    head = bytes.fromhex("935651 02 07 12 ac02 14 a0b1 c2d3 05 25 02 8201")
    assert data[:-4] == head + b"\x01\x02abc" + b"z" * 130 + b"def"
    assert data[-4:] == zlib.crc32(data[:-4]).to_bytes(4, "big")
    assert HEADER.pack() == head


def test_the_smallest_file_has_nothing_to_spare():
    header = Header(size=(4, 4), channels=1, bit_depth=8, tokenizer="0000", priors="", payload_bytes=(0,))
    assert len(write_bitstream(Bitstream(header, (b"",), (b"abc",)))) == 18


@pytest.mark.parametrize("length", range(len(write_bitstream(STREAM))))
def test_a_cut_file_gives_what_is_whole_only_where_that_is_asked_for(length):
    data = write_bitstream(STREAM)
    top_ends, bottom_ends = len(HEADER.pack()) + 5, len(data) - 4
    with pytest.raises(BitstreamError, match="cut"):
        read_bitstream(io.BytesIO(data[:length]))
    for options in ({"allow_cut": True}, {"max_levels": 1}):
        if length < top_ends:
            with pytest.raises(BitstreamError, match="cut"):
                read_bitstream(io.BytesIO(data[:length]), **options)
            continue
        found = read_bitstream(io.BytesIO(data[:length]), **options)
        levels = 2 if length >= bottom_ends and "allow_cut" in options else 1
        assert (found.header, found.payloads) == (HEADER, STREAM.payloads[:levels])
    if length >= top_ends:
        with pytest.raises(BitstreamError, match="`max_levels` or `allow_cut`"):
            read_bitstream(io.BytesIO(data[:length]))


def test_a_preview_is_read_no_further_than_its_levels():
    file = io.BytesIO(write_bitstream(STREAM) + b"what comes next")
    read_bitstream(file, max_levels=1)
    assert file.tell() == len(HEADER.pack()) + 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends within its first bytes"),
        (b"\x89PNG\r\n\x1a\n", "not an image of vqvae2"),
        (b"\x93VQ\x03", "format version 3, this package reads 2; update vqvae2"),
        (b"\x93VQ\x01", "format version 1, .* or decompress it with the version of vqvae2 that wrote it"),
        (START + b"\x80\x12", "unknown flags"),
        (START + b"\x00\x12\x00\x14", "0 pixels high and 20 wide"),
        (START + b"\x04\x12\x04\x04\xa0\xb1\x00", "an offset of 0"),
        (START + b"\x00\x12\x81\x00", "not written as it must be"),
        (START + b"\x00\x12" + b"\xff" * 9, "not written as it must be"),
        (START + b"\x00\x12\xff\xff\xff\x0f\xff\xff\xff\x0f", "from 1 to 1048576 pixels"),
    ],
)
def test_what_is_no_such_file_is_refused_with_the_likely_cause(data, message):
    with pytest.raises(BitstreamError, match=message):
        read_bitstream(io.BytesIO(data))


def test_the_limit_can_be_moved():
    large = dataclasses.replace(HEADER, size=(1, MAX_CODED_PIXELS + 1))
    data = write_bitstream(dataclasses.replace(STREAM, header=large))
    with pytest.raises(BitstreamError, match="a larger `max_pixels`"):
        read_bitstream(io.BytesIO(data))
    assert read_bitstream(io.BytesIO(data), max_pixels=MAX_CODED_PIXELS + 1).header == large


def test_no_levels_cannot_be_asked_for():
    with pytest.raises(ConfigError, match="`max_levels` must be at least 1, got 0"):
        read_bitstream(io.BytesIO(write_bitstream(STREAM)), max_levels=0)


@given(st.data(), st.integers(2, 65_536))
def test_codes_of_fixed_width_come_back(reference, data, num_embeddings):
    codes = data.draw(st.lists(st.integers(0, num_embeddings - 1), max_size=40))
    payload = pack_codes(np.array(codes, dtype=np.int64), num_embeddings)
    assert len(payload) == packed_bytes(len(codes), num_embeddings)
    assert unpack_codes(payload, len(codes), num_embeddings).tolist() == codes
    assert reference.decode_raw(payload, len(codes), num_embeddings) == codes


@pytest.mark.parametrize("payload", [b"\xe0", b"\x01"])
def test_codes_that_were_not_written_so_are_refused(payload):
    with pytest.raises(BitstreamError, match="not in 0"):
        unpack_codes(payload, 2, 5)
