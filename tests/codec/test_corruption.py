"""Damaged, cut, forged and foreign files end in the right codes, or in an error that says why.

The slow tests take twenty thousand of them. What a file decodes to is right if one of the files that it was made of
holds it.
"""

import dataclasses
import io
import re
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from vqvae2.codec.bitstream import MAX_CODED_PIXELS, Bitstream, Header, read_bitstream, write_bitstream
from vqvae2.codec.codec import Codec
from vqvae2.codec.entropy import RangeEncoder
from vqvae2.codes import Codes
from vqvae2.config import EMAConfig, VQVAE2Config
from vqvae2.errors import BitstreamError, ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.vqvae import VQVAE2

SIZES = [(4, 4), (1, 3), (7, 4), (8, 8)]
LARGEST = 64  # pixels, of these sizes and of what is claimed
CAUSE = re.compile(r"damaged|cut|was appended|not an image of vqvae2|update vqvae2|that wrote it")

Generator = np.random.Generator


def chunks(count: int) -> list[object]:
    """Give numbers of chunks and how many files each has: a few at once, and the many in slow tests."""
    return [
        pytest.param(0, 25, id="few"),
        *(pytest.param(number, 500, marks=pytest.mark.slow) for number in range(count)),
    ]


@dataclasses.dataclass(frozen=True)
class Original:
    data: bytes
    size: tuple[int, int]
    label: int | None
    codes: Codes


@pytest.fixture
def tokenizer():
    config = VQVAE2Config(
        strides=(2, 2),
        hidden_channels=4,
        residual_channels=2,
        residual_layers=1,
        quantizer=EMAConfig(num_embeddings=5, embedding_dim=4),
    )
    return VQVAE2(config).eval()


@pytest.fixture
def make_priors(make_prior, tokenizer):
    """Make priors of one layer, so that a code takes little time."""

    def make():
        options = {"num_embeddings": 5, "above_num_embeddings": 5, "num_classes": 2, "num_layers": 1}
        options |= {"conditioning_layers": 1, "tokenizer": fingerprint(tokenizer)}
        top = make_prior(0, family="transformer", **options).float()
        return top, make_prior(1, family="pixelsnail", attention_every=0, output_layers=0, **options).float()

    return make


@pytest.fixture
def tiny_priors(make_priors):
    return make_priors()


@pytest.fixture
def codec(tokenizer, tiny_priors):
    return Codec(tokenizer, tiny_priors, max_pixels=LARGEST)


@pytest.fixture
def originals(codec, tokenizer):
    """Files of both modes and several sizes, with and without a class, whole and previews."""
    found: list[Original] = []
    for size in SIZES:
        shapes = tokenizer.config.code_shapes(*size)
        for levels in (1, 2):
            for mode, label in (("raw", None), ("prior", None), ("prior", 0), ("prior", 1)):
                codes = Codes(tuple(torch.randint(5, (1, *shape)) for shape in shapes[:levels]))
                (data,) = codec.compress_codes(codes, size=size, mode=mode, labels=[label], verify=False)
                found.append(Original(data, size, label, codes))
    return found


@pytest.fixture
def whole(originals):
    """A file of two levels, coded with priors for a class."""
    return originals[-1]


def decompress(codec: Codec, source: object, **options: object) -> torch.Tensor:
    return codec.decompress_batch([source], **options)[0]


def end(codec: Codec, data: bytes, right: Sequence[Original], **options: object) -> bool:
    """Decode, and say whether anything came out; it must be right then, and else be refused in a clear line."""
    try:
        stream = codec.read(data, **options)
        codes = codec.decompress_codes([stream])
    except BitstreamError as error:
        message = str(error)
    else:
        assert any(holds(original, stream.header, codes) for original in right), (data.hex(), options)
        return True
    assert "\n" not in message
    assert CAUSE.search(message), message
    return False


def holds(original: Original, header: Header, codes: Codes) -> bool:
    same = all(torch.equal(one, other) for one, other in zip(codes, original.codes, strict=False))
    return same and (header.size, header.label) == (original.size, original.label)


def alterations(data: bytes, other: bytes, generator: Generator) -> dict[str, bytes]:
    """Alter a file in every way at random places."""
    changed, flipped = bytearray(data), bytearray(data)
    for index in generator.integers(len(data), size=generator.integers(1, 5)):
        changed[index] = generator.integers(256)
    for index in generator.integers(len(data), size=generator.integers(1, 3)):
        flipped[index] ^= 1 << int(generator.integers(8))
    start = int(generator.integers(len(data)))
    stop = start + 1 + int(generator.integers(min(8, len(data) - start)))
    return {
        "bytes changed": bytes(changed),
        "bits flipped": bytes(flipped),
        "cut": data[:start],
        "extended": data + generator.bytes(int(generator.integers(1, 20))),
        "spliced": data[: generator.integers(len(data) + 1)] + other[generator.integers(len(other) + 1) :],
        "bytes deleted": data[:start] + data[stop:],
        "bytes repeated": data[:stop] + data[start:],
        "bytes zeroed": data[:start] + bytes(stop - start) + data[stop:],
    }


def mend(data: bytes) -> bytes:
    """Put the right checksum behind a file, so that it is decoded in earnest."""
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "big")


@pytest.mark.parametrize(("chunk_number", "num_files"), chunks(2))
@pytest.mark.parametrize("mended", [False, True], ids=["as it is", "with the right checksum"])
def test_altered_files_end_well(codec, originals, mended, chunk_number, num_files):
    generator, refused = np.random.default_rng([chunk_number, mended]), Counter()
    for _ in range(num_files):
        right = [originals[index] for index in generator.integers(len(originals), size=2)]
        for how, data in alterations(right[0].data, right[1].data, generator).items():
            data = mend(data) if mended else data
            refused[how] += not end(codec, data, right)
            end(codec, data, right, allow_cut=True)
            end(codec, data, right, max_levels=1)
    assert len(refused) == 8
    assert min(refused.values()) > num_files // 2


def forgeries(stream: Bitstream, other: Bitstream, generator: Generator) -> dict[str, Bitstream]:
    """Make files of one piece, with lengths and checksum right, that say what no encoder says."""
    own, payloads, checks, height = stream.header, list(stream.payloads), stream.checks, int(generator.integers(1, 9))
    level, more = int(generator.integers(len(payloads))), int(generator.integers(1, 17 - len(payloads)))
    length = max(0, len(payloads[level]) + int(generator.choice([0, 0, 0, -1, 1, 5])))
    changed = [generator.bytes(length), bytes(length), b"\xff" * length][generator.integers(3)]
    new_checks = tuple(generator.bytes(3) for _ in range(16))
    return {
        "size": claim(stream, size=(height, int(generator.integers(1, LARGEST // height + 1)))),
        "label": claim(stream, label=[None, 0, 1, 2, 2**35 - 1][generator.integers(5)]),
        "offset": claim(stream, offset=int(generator.integers(256))),
        "mode": claim(stream, priors="" if own.priors else other.header.priors),
        "payload": with_levels(own, [*payloads[:level], changed, *payloads[level + 1 :]], checks),
        "zeros behind a level": with_levels(own, [data + bytes(generator.integers(3)) for data in payloads], checks),
        "levels of another": with_levels(own, payloads[:1] + list(other.payloads[1:]), checks[:1] + other.checks[1:]),
        "header of another": with_levels(other.header, payloads, checks),
        "more levels": with_levels(own, [*payloads, *([b""] * more)], checks + new_checks[:more]),
        "fewer levels": with_levels(own, payloads[:1], checks[:1]),
        "checks swapped": with_levels(own, payloads, checks[::-1]),
        "other checks": with_levels(own, payloads, new_checks[: len(checks)]),
    }


def claim(stream: Bitstream, **changes: object) -> Bitstream:
    return dataclasses.replace(stream, header=dataclasses.replace(stream.header, **changes))


def with_levels(header: Header, payloads: Sequence[bytes], checks: Sequence[bytes]) -> Bitstream:
    """Make a file whose header tells the lengths of its levels truly."""
    header = dataclasses.replace(header, payload_bytes=tuple(len(payload) for payload in payloads))
    return Bitstream(header, tuple(payloads), tuple(checks))


@pytest.mark.parametrize(("chunk_number", "num_files"), chunks(4))
def test_forged_files_end_well(codec, originals, chunk_number, num_files):
    generator = np.random.default_rng([chunk_number, 100])
    for _ in range(num_files // 10):
        right = [originals[index] for index in generator.integers(len(originals), size=2)]
        for forged in forgeries(*(codec.read(original.data) for original in right), generator).values():
            for options in ({}, {"allow_cut": True}, {"max_levels": 1}):
                end(codec, write_bitstream(forged), right, **options)


def picture(generator: Generator, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(generator.integers(256, size=(4, 4, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(("chunk_number", "num_files"), chunks(4))
def test_foreign_files_are_refused(codec, originals, chunk_number, num_files):
    generator = np.random.default_rng([chunk_number, 200])
    for number in range(num_files):
        noise = generator.bytes(int(generator.integers(100)))
        start = originals[generator.integers(len(originals))].data
        data = [
            noise,
            b"",
            picture(generator, "PNG"),
            picture(generator, "JPEG"),
            noise.hex().encode(),
            start[:3] + noise,  # behind the magic
            start[:4] + noise,  # and the version
            start[:6] + noise,  # and flags, levels and channels
            mend(start[:12] + noise),  # and size and fingerprints
        ][number % 9]
        for options in ({}, {"allow_cut": True}, {"max_levels": 1}):
            assert not end(codec, data, (), **options)


def test_a_cut_file_gives_the_preview(codec, whole):
    preview, image = (decompress(codec, whole.data, max_levels=levels) for levels in (1, None))
    for length, found in ((len(whole.data) - 5, preview), (len(whole.data) - 4, image)):  # without its checksum
        with pytest.raises(BitstreamError, match="was cut or damaged"):
            decompress(codec, whole.data[:length])
        assert torch.equal(decompress(codec, whole.data[:length], allow_cut=True), found)


def header(whole: Original, **changes: object) -> bytes:
    return dataclasses.replace(read_bitstream(io.BytesIO(whole.data)).header, **changes).pack()


def peak_bytes(call: Callable[[], object]) -> int:
    """Most memory that Python and NumPy held during a call that is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(BitstreamError):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (31_623, 31_623)}, "claims an image 31623 pixels high and 31623 wide, but from 1 to"),
        ({"size": (1, 2**35 - 1)}, "claims an image 1 pixels high and 34359738367 wide"),
        ({"size": (0, 5)}, "claims an image 0 pixels high and 5 wide, but from 1"),
        ({"size": (1, MAX_CODED_PIXELS)}, "wide, padded more than `max_pixels`"),
        ({"payload_bytes": (2**30, 3)}, r"claims 1073741827 bytes of codes, but at most \d+ are read"),
        ({"payload_bytes": (2**20, 3)}, "claims 1048576 bytes for the 4 codes of its level 1"),
        ({"payload_bytes": (0,) * 16}, "claims 3 channels of 8 bits in 16 levels, which these models do not have"),
        ({"channels": 4}, "claims 4 channels of 8 bits in 2 levels, which these models do not have"),
        ({"bit_depth": 16}, "claims 3 channels of 16 bits in 2 levels, which these models do not have"),
        ({"label": 2}, "claims class 2, which the priors do not have"),
        ({"priors": "", "label": 1}, "claims class 1, which the priors do not have"),
        ({"payload_bytes": (99, 3)}, "claims 99 bytes for the 4 codes of its level 1"),
        ({"priors": "", "label": None, "payload_bytes": (3, 6)}, "claims 3 bytes for the 4 codes of its level 1"),
    ],
    ids=str,
)
def test_false_claims_are_refused_before_anything_is_allocated(tokenizer, tiny_priors, whole, changes, message):
    codec = Codec(tokenizer, tiny_priors)
    data = header(whole, **changes) + bytes(2**20)
    assert peak_bytes(lambda: decompress(codec, data, max_levels=1)) < 2**18
    with pytest.raises(BitstreamError, match=message):
        decompress(codec, data, max_levels=1)


class Endless:
    """A file that never ends, and counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self._start, self.num_read, self.most_at_once = io.BytesIO(data), 0, 0

    def read(self, count: int) -> bytes:
        assert count >= 0, "all that there is was asked for"
        self.num_read += count
        self.most_at_once = max(self.most_at_once, count)
        return self._start.read(count).ljust(count, b"\0")


def test_an_endless_file_is_left_where_the_image_ends(codec, whole):
    file = Endless(whole.data)
    with pytest.raises(BitstreamError, match="the file goes on after the end of its image"):
        decompress(codec, file)
    assert file.num_read == len(whole.data) + 1


def test_an_endless_file_with_the_largest_claims_ends(whole):
    file = Endless(header(whole, payload_bytes=(4 * MAX_CODED_PIXELS - 9, 9)))
    with pytest.raises(BitstreamError, match="does not match its own checksum"):
        read_bitstream(file)
    assert file.num_read < 4 * MAX_CODED_PIXELS + 100
    assert file.most_at_once <= 2**16


def test_an_endless_file_of_zeros_or_of_a_long_number_is_left_at_once(whole):
    for start, message in ((b"", "not an image of vqvae2"), (whole.data[:6] + b"\xff" * 99, "a number in the file")):
        file = Endless(start)
        with pytest.raises(BitstreamError, match=message):
            read_bitstream(file)
        assert file.num_read < 20


class Trickling(io.BytesIO):
    """A file that gives two bytes at a time, as a pipe may."""

    def read(self, count: int | None = -1) -> bytes:
        assert count is not None
        return super().read(min(2, count))


def test_a_file_that_trickles_is_read_and_takes_no_more_memory_than_its_bytes(codec, whole):
    assert torch.equal(decompress(codec, Trickling(whole.data)), decompress(codec, whole.data))
    data = header(whole, payload_bytes=(2**17, 3)) + bytes(2**16)
    assert peak_bytes(lambda: read_bitstream(Trickling(data))) < 2**18


def test_a_file_of_other_priors_is_refused_but_a_raw_one_is_read(tokenizer, make_priors, whole, originals):
    other = Codec(tokenizer, make_priors())
    with pytest.raises(BitstreamError, match="of the same tokenizer; give the pipeline that wrote it"):
        decompress(other, whole.data)
    raw = originals[0]
    assert end(other, raw.data, [raw])


def test_models_that_only_seem_to_be_the_same_are_found_out(tokenizer, make_priors, codec, originals):
    """A file names its models with 2 bytes each; the checks of its codes know them fully."""
    others = {False: Codec(VQVAE2(tokenizer.config).eval()), True: Codec(tokenizer, make_priors())}
    for original in originals:
        own = codec.read(original.data)
        other = others[bool(own.header.priors)]
        (data,) = other.compress_codes(original.codes, size=original.size, labels=[original.label])
        theirs = other.read(data)
        names = {"tokenizer": own.header.tokenizer, "priors": own.header.priors}
        with pytest.raises(BitstreamError, match="or these are not the models that wrote it"):
            decompress(codec, write_bitstream(claim(theirs, **names)))


def test_the_longest_payload_of_an_encoder_is_no_false_claim(codec):
    """Codes that cost 24 bits each can take a byte more, for an interval is cut to whole numbers code by code."""
    counts = np.array([[5_964_049, 1, 2**24 - 5_964_050], [12_451_566, 1, 2**24 - 12_451_567]])
    encoder = RangeEncoder()
    encoder.encode(np.array([1, 1]), counts)
    payload = encoder.finish()
    assert len(payload) == 2 * 3 + 1
    codes = Codes((torch.zeros(1, 1, 2, dtype=torch.int64),))
    (data,) = codec.compress_codes(codes, size=(4, 8))
    stream = codec.read(data)
    codec.read(write_bitstream(with_levels(stream.header, [payload], stream.checks)))
    with pytest.raises(BitstreamError, match="claims 8 bytes for the 2 codes of its level 1"):
        codec.read(write_bitstream(with_levels(stream.header, [payload + b"\1"], stream.checks)))


def test_a_file_that_was_read_whole_still_gives_its_preview(codec, whole):
    stream = codec.read(whole.data)
    assert torch.equal(decompress(codec, stream, max_levels=1), decompress(codec, whole.data, max_levels=1))
    assert codec.decompress_codes([stream], max_levels=1).shapes == whole.codes.shapes[:1]
    with pytest.raises(ConfigError, match="`max_levels` must be at least 1, got 0"):
        codec.read(stream, max_levels=0)
