"""Where the members of a tar archive lie. Nothing is unpacked, and names are only names.

Of the archive, headers alone are read: old, POSIX (ustar, pax) and GNU ones. Links, folders and devices are passed
over. An archive is whole only if it has its end mark, so one that was cut is noticed wherever the cut lies.
(POSIX.1-2017, pax, "ustar Interchange Format".)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vqvae2.data.sources.shards import ByteFile
from vqvae2.data.sources.source import ShardError

__all__ = ["TarMember", "scan_tar"]

_BLOCK = 512
_MOST_HEADER_BYTES = 2**20  # of a long name or a pax header; a real one has some hundred
_LOOKED_AT_BEHIND_END = 2**20  # archives are filled up with zeros to a multiple of their record's size
_FILES, _LONG_NAME, _PAX = (b"0", b"\0", b"7"), b"L", b"x"
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


class TarMember(NamedTuple):
    """One file of an archive."""

    name: str
    offset: int
    """Of its first byte in the archive."""
    size: int
    """In bytes."""


def scan_tar(file: ByteFile) -> Iterator[TarMember]:
    """Find the files of an archive, in their order.

    Raises:
        ShardError: If it is no tar archive, packed, damaged or cut.
    """
    position, long_name, extended = 0, None, dict[str, str]()
    while True:
        block = _read(file, position, _BLOCK)
        if not block.strip(b"\0"):
            _require_nothing_behind(file, position)
            return
        kind, size = block[156:157], _check(file, block, position)
        position += _BLOCK
        if kind in (_PAX, _LONG_NAME):
            if size > _MOST_HEADER_BYTES:
                raise ShardError(
                    f"{file.place} has a header of {size} bytes, and at most {_MOST_HEADER_BYTES} are read"
                )
            data = _read(file, position, size)
            if kind == _PAX:
                extended = _parse_pax(file, data)
            else:
                long_name = data.partition(b"\0")[0].decode(errors="replace")
            position += _padded(size)
            continue
        name = extended.get("path") or long_name or _name_of(block)
        if kind == b"S" or any(key.startswith("GNU.sparse") for key in extended):
            raise ShardError(f"{file.place} holds {name} as a sparse file, which is not read; archive it as it is")
        if kind in _WITHOUT_DATA:
            size = 0
        elif "size" in extended:
            size = _require_size(file, extended["size"], 10, position)
        if position + size > file.size:
            raise ShardError(
                f"{file.place} is cut: {name} should end at byte {position + size}, but the archive has {file.size}; "
                "fetch it again"
            )
        if kind in _FILES and not name.endswith("/"):
            yield TarMember(name, position, size)
        position += _padded(size)
        if kind != b"g":
            long_name, extended = None, {}


def _read(file: ByteFile, offset: int, length: int) -> bytes:
    if offset + length > file.size:
        raise ShardError(
            f"{file.place} is cut: it has {file.size} bytes and no end mark, after which a tar archive is whole; "
            "fetch it again"
        )
    return file.read(offset, length)


def _check(file: ByteFile, block: bytes, position: int) -> int:
    """Compare a header with its checksum, and give the size in it."""
    stated = block[148:156].strip(b"\0 ")
    if not stated.isdigit() or int(stated, 8) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        if position:
            raise ShardError(f"{file.place} is damaged at byte {position}: no tar header stands there; fetch it again")
        packing = _PACKED.get(block[:2])
        kind = f"packed with {packing}; unpack it to a plain .tar" if packing else "not a tar archive"
        raise ShardError(f"{file.place} is {kind}")
    return _number(file, block[124:136], position)


def _number(file: ByteFile, digits: bytes, position: int) -> int:
    if digits[0] & 0x80:  # GNU's way to write what needs more than 11 octal digits
        return int.from_bytes(bytes([digits[0] & 0x7F]) + digits[1:])
    return _require_size(file, digits.strip(b"\0 ").decode(errors="replace") or "0", 8, position)


def _require_size(file: ByteFile, digits: str, base: int, position: int) -> int:
    try:
        size = int(digits, base)
    except ValueError:
        size = -1
    if size < 0:
        raise ShardError(f"{file.place} is damaged at byte {position}: {digits!r} is no size; fetch it again")
    return size


def _name_of(block: bytes) -> str:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    return name.decode(errors="replace")


def _parse_pax(file: ByteFile, data: bytes) -> dict[str, str]:
    """Read the lines `LENGTH KEY=VALUE` of a pax header."""
    fields, start = {}, 0
    while start < len(data):
        digits = data[start : start + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        line = data[start : start + length]
        if not len(digits) < length == len(line) or not line.endswith(b"\n") or b"=" not in line:
            raise ShardError(f"{file.place} is damaged: a pax header of it cannot be read; fetch it again")
        key, _, value = line[len(digits) + 1 : -1].partition(b"=")
        fields[key.decode(errors="replace")] = value.decode(errors="replace")
        start += length
    return fields


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _require_nothing_behind(file: ByteFile, end: int) -> None:
    """Notice archives that were joined by `cat`, whose second one would be lost, and zeros in the midst of one."""
    if file.read(end, min(_LOOKED_AT_BEHIND_END, file.size - end)).strip(b"\0"):
        raise ShardError(
            f"{file.place} goes on after its end mark at byte {end}; join archives with `tar --concatenate`, "
            "or fetch it again"
        )
