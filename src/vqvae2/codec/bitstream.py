"""The container of a compressed image: what stands in the file before and between the codes.

`docs/bitstream.md` is the specification. This module knows bytes, and nothing of models.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal

from vqvae2.errors import BitstreamError, ConfigError

__all__ = [
    "CHECK_BYTES",
    "MAGIC",
    "MAX_CODED_PIXELS",
    "MOST_CHANNELS",
    "MOST_LEVELS",
    "VERSION",
    "Bitstream",
    "Header",
    "Mode",
    "padded_pixels",
    "read_bitstream",
    "write_bitstream",
]

Mode = Literal["prior", "raw"]
"""How codes are written: by the priors' probabilities, or each with as many bits as its codebook needs."""
MAX_CODED_PIXELS = 2**20
"""Larger images than 1024x1024, as padded, are refused unless a caller asks for them."""
MOST_LEVELS = MOST_CHANNELS = 16
CHECK_BYTES = 3
MAGIC = b"\x93VQ"
"""How every file begins."""
VERSION = 2
FINGERPRINT_BYTES = 2

_CRC_BYTES = 4
_HAS_PRIORS, _HAS_LABEL, _HAS_OFFSET, _HAS_16_BITS = 1, 2, 4, 8
_MOST_VARINT_BYTES = 5
_CHUNK_BYTES = 1 << 16
_MOST_BYTES_PER_PIXEL = 4  # there are never more codes than pixels, and a code takes at most 24 bits


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself before its codes."""

    size: tuple[int, int]
    """Height and width in pixels."""
    channels: int
    bit_depth: int
    """Bits of each value of a pixel, 8 or 16."""
    tokenizer: str
    """First four hexadecimal digits of the tokenizer's fingerprint."""
    priors: str
    """First four digits of that of all priors; empty for codes of fixed width, which need none."""
    label: int | None = None
    """Class that the priors are told."""
    offset: int = 0
    """How far the grid that logits are rounded to is moved, in 1/256 of its step."""
    payload_bytes: tuple[int, ...]
    """Of each level, top first."""

    @property
    def num_levels(self) -> int:
        return len(self.payload_bytes)

    def pack(self) -> bytes:
        """Give the bytes of the header."""
        flags = (
            (_HAS_PRIORS if self.priors else 0)
            | (_HAS_LABEL if self.label is not None else 0)
            | (_HAS_OFFSET if self.offset else 0)
            | (_HAS_16_BITS if self.bit_depth == 16 else 0)
        )
        parts = [
            MAGIC,
            bytes((VERSION, flags, (self.num_levels - 1) << 4 | (self.channels - 1))),
            *(_pack_varint(side) for side in self.size),
            bytes.fromhex(self.tokenizer),
            bytes.fromhex(self.priors),
            b"" if self.label is None else _pack_varint(self.label),
            bytes((self.offset,)) if self.offset else b"",
            *(_pack_varint(count) for count in self.payload_bytes),
        ]
        return b"".join(parts)


@dataclass(frozen=True)
class Bitstream:
    """A file that was read: its header, and the levels that are complete."""

    header: Header
    payloads: tuple[bytes, ...]
    """One per level, top first; fewer than the header says if the file was cut, or only some were wanted."""
    checks: tuple[bytes, ...]
    """One per level: a hash of its codes and of those above, with all that they depend on."""


def padded_pixels(size: tuple[int, int], stride: int) -> int:
    """Count the pixels of an image of this height and width once its sides are padded to multiples of `stride`."""
    height, width = (-(-side // stride) * stride for side in size)
    return height * width


def write_bitstream(bitstream: Bitstream) -> bytes:
    """Give the bytes of a whole file."""
    levels = zip(bitstream.payloads, bitstream.checks, strict=True)
    body = bitstream.header.pack() + b"".join(payload + check for payload, check in levels)
    return body + zlib.crc32(body).to_bytes(_CRC_BYTES, "big")


def read_bitstream(
    file: BinaryIO,
    *,
    max_levels: int | None = None,
    allow_cut: bool = False,
    max_pixels: int = MAX_CODED_PIXELS,
    check_header: Callable[[Header], None] | None = None,
) -> Bitstream:
    """Read a file, and check all that can be checked without its models.

    Args:
        file: Read from its position to its end, which must be that of the image; with `max_levels`, no further than
            the last level that is wanted.
        max_levels: How many levels to read at most, top first; None for all.
        allow_cut: Accept a file that ends too early, and read its complete levels, at least the top.
        max_pixels: Refuse larger images before anything is allocated for them.
        check_header: Called before the codes are read; raises an error if they should not be.

    Raises:
        BitstreamError: If the bytes are not such a file, were damaged or cut, are of another version, or claim more
            than `max_pixels`.
        ConfigError: If `max_levels` is below 1.
    """
    if max_levels is not None and max_levels < 1:
        raise ConfigError(f"`max_levels` must be at least 1, got {max_levels}")
    reader = _Reader(file)
    header = _read_header(reader, max_pixels)
    if check_header is not None:
        check_header(header)
    wanted = min(max_levels or header.num_levels, header.num_levels)
    levels: list[bytes] = []
    try:
        for count in header.payload_bytes[:wanted]:
            levels.append(reader.take(count + CHECK_BYTES, f"its level {len(levels) + 1} of {header.num_levels}"))
        if wanted == header.num_levels:
            reader.end()
    except _CutError as error:
        if not levels:
            raise
        if not allow_cut:
            raise BitstreamError(
                f"{error}; the {_count(len(levels), 'level')} before that can be had with `max_levels` or `allow_cut`"
            ) from error
    payloads = tuple(level[:-CHECK_BYTES] for level in levels)
    return Bitstream(header, payloads, tuple(level[-CHECK_BYTES:] for level in levels))


class _CutError(BitstreamError):
    """The file ends too early."""


class _Reader:
    """Reads a file piece by piece, so that memory grows with what the file holds, not with what it claims."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.crc = 0

    def take(self, count: int, what: str) -> bytes:
        """Read exactly `count` bytes of `what`."""
        data = bytearray()  # a list of small parts would take far more memory
        while len(data) < count and (part := self.file.read(min(count - len(data), _CHUNK_BYTES))):
            data += part
        missing = count - len(data)
        if missing:
            raise _CutError(f"the file ends within {what}, {_count(missing, 'byte')} too early: it was cut or damaged")
        self.crc = zlib.crc32(data, self.crc)
        return bytes(data)

    def byte(self) -> int:
        return self.take(1, "its header")[0]

    def varint(self) -> int:
        """Read a number of seven bits per byte, lowest first; each byte but the last has its high bit set."""
        number = 0
        for index in range(_MOST_VARINT_BYTES):
            byte = self.byte()
            number |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if not byte and index:
                    break
                return number
        raise BitstreamError("a number in the file's header is not written as it must be: the file is damaged")

    def end(self) -> None:
        """Read the checksum of all bytes so far, behind which nothing may follow."""
        wanted = self.crc.to_bytes(_CRC_BYTES, "big")
        if self.take(_CRC_BYTES, "its checksum") != wanted:
            raise BitstreamError("the file does not match its own checksum: it is damaged")
        if self.file.read(1):
            raise BitstreamError(
                "the file goes on after the end of its image: something was appended, or it is damaged"
            )


def _pack_varint(number: int) -> bytes:
    packed = bytearray()
    while number >= 0x80:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _read_header(reader: _Reader, max_pixels: int) -> Header:
    magic = reader.take(len(MAGIC), "its first bytes")
    if magic != MAGIC:
        raise BitstreamError(f"not an image of vqvae2: the file begins with {magic.hex(' ')}, not {MAGIC.hex(' ')}")
    version = reader.byte()
    if version != VERSION:
        remedy = "update vqvae2"
        if version < VERSION:
            remedy = "compress its image again, or decompress it with the version of vqvae2 that wrote it"
        raise BitstreamError(f"the file is of format version {version}, this package reads {VERSION}; {remedy}")
    flags, shape = reader.byte(), reader.byte()
    if flags & ~(_HAS_PRIORS | _HAS_LABEL | _HAS_OFFSET | _HAS_16_BITS):
        raise BitstreamError(f"the file's header has unknown flags ({flags:#04x}): it is damaged")
    size = reader.varint(), reader.varint()
    if not 0 < size[0] * size[1] <= max_pixels:
        raise BitstreamError(
            f"the file claims an image {size[0]} pixels high and {size[1]} wide, but from 1 to {max_pixels} pixels are "
            "read; it is damaged, or a larger `max_pixels` must be given"
        )
    tokenizer = reader.take(FINGERPRINT_BYTES, "its header").hex()
    priors = reader.take(FINGERPRINT_BYTES if flags & _HAS_PRIORS else 0, "its header").hex()
    label = reader.varint() if flags & _HAS_LABEL else None
    offset = reader.byte() if flags & _HAS_OFFSET else 0
    if flags & _HAS_OFFSET and not offset:
        raise BitstreamError("the file's header has an offset of 0, which is never written: it is damaged")
    payload_bytes = tuple(reader.varint() for _ in range((shape >> 4) + 1))
    most = _MOST_BYTES_PER_PIXEL * max_pixels
    if sum(payload_bytes) > most:
        raise BitstreamError(
            f"the file claims {sum(payload_bytes)} bytes of codes, but at most {most} are read; it is damaged"
        )
    return Header(
        size=size,
        channels=(shape & 15) + 1,
        bit_depth=16 if flags & _HAS_16_BITS else 8,
        tokenizer=tokenizer,
        priors=priors,
        label=label,
        offset=offset,
        payload_bytes=payload_bytes,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
