"""Find the members of a tar archive by its headers. Nothing is unpacked, and names are only names.

Reads old, POSIX (ustar, pax) and GNU headers; skips links, folders and devices. Unlike `tarfile`, which is also several
times slower, it refuses damaged headers and archives without their end mark, so a cut is noticed wherever it lies.
(POSIX.1-2017, pax, "ustar Interchange Format".)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vqvae2.data.sources.left_aside import LeftAside
from vqvae2.data.sources.shards import Read, Shard
from vqvae2.data.sources.source import ShardError

__all__ = ["TarMember", "scan_tar"]

_BLOCK = 512
_MAX_HEADER_BYTES = 2**20  # of a long name or a pax header; a real one has some hundred
_CHECKED_BEHIND_END = 2**20  # archives are padded with zeros to a multiple of their record size
_FILES, _LONG_NAME, _PAX = (b"0", b"\0", b"7"), b"L", b"x"
_LINKS_AND_DEVICES = (b"1", b"2", b"3", b"4", b"6")
_WITHOUT_DATA = (*_LINKS_AND_DEVICES, b"5")
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


class TarMember(NamedTuple):
    """One file of an archive."""

    name: str
    offset: int
    """Where its data begins in the archive."""
    size: int


def scan_tar(file: Shard, read: Read, left_aside: LeftAside | None = None) -> Iterator[TarMember]:
    """Find the files of an archive, which `read` reads, in their order; count links and devices in `left_aside`.

    Raises:
        ShardError: If it is no tar archive, or is packed, damaged or cut.
    """
    position, long_name, extended = 0, None, dict[str, str]()
    while True:
        block = _read(file, read, position, _BLOCK)
        if not block.strip(b"\0"):
            _require_nothing_behind(file, read, position)
            return
        kind, size = block[156:157], _check(file, block, position)
        position += _BLOCK
        if kind in (_PAX, _LONG_NAME):
            if size > _MAX_HEADER_BYTES:
                raise ShardError(f"{file.path} has a header of {size} bytes, and at most {_MAX_HEADER_BYTES} are read")
            data = _read(file, read, position, size)
            if kind == _PAX:
                extended = _parse_pax(file, data)
            else:
                long_name = data.partition(b"\0")[0].decode(errors="replace")
            position += _padded(size)
            continue
        name = extended.get("path") or long_name or _name_of(block)
        if kind == b"S" or any(key.startswith("GNU.sparse") for key in extended):
            raise ShardError(f"{file.path} holds {name} as a sparse file, which is not supported; archive it as it is")
        if kind in _WITHOUT_DATA:
            size = 0
        elif "size" in extended:
            size = _require_size(file, extended["size"], 10, position)
        if position + size > file.size:
            raise ShardError(
                f"{file.path} is cut: {name} should end at byte {position + size}, but the archive has {file.size}; "
                "fetch it again"
            )
        if kind in _FILES and not name.endswith("/"):
            yield TarMember(name, position, size)
        elif left_aside is not None and kind in _LINKS_AND_DEVICES:
            left_aside.add("links and devices within archives", f"{file.name}/{name}")
        position += _padded(size)
        if kind != b"g":
            long_name, extended = None, {}


def _read(file: Shard, read: Read, offset: int, length: int) -> bytes:
    if offset + length > file.size:
        raise ShardError(
            f"{file.path} is cut: it has {file.size} bytes, but lacks the end mark of a tar archive; fetch it again"
        )
    return read(offset, length)


def _check(file: Shard, block: bytes, position: int) -> int:
    """Compare a header with its checksum; return the size in it."""
    stated = block[148:156].strip(b"\0 ")
    if not stated.isdigit() or int(stated, 8) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        if position:
            raise ShardError(f"{file.path} is damaged at byte {position}: no tar header stands there; fetch it again")
        packing = _PACKED.get(block[:2])
        kind = f"packed with {packing}; unpack it to a plain .tar" if packing else "not a tar archive"
        raise ShardError(f"{file.path} is {kind}")
    return _number(file, block[124:136], position)


def _number(file: Shard, digits: bytes, position: int) -> int:
    if digits[0] & 0x80:  # GNU writes what needs more than 11 octal digits in base 256
        return int.from_bytes(bytes([digits[0] & 0x7F]) + digits[1:])
    return _require_size(file, digits.strip(b"\0 ").decode(errors="replace") or "0", 8, position)


def _require_size(file: Shard, digits: str, base: int, position: int) -> int:
    try:
        size = int(digits, base)
    except ValueError:
        size = -1
    if size < 0:
        raise ShardError(f"{file.path} is damaged at byte {position}: {digits!r} is no size; fetch it again")
    return size


def _name_of(block: bytes) -> str:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    return name.decode(errors="replace")


def _parse_pax(file: Shard, data: bytes) -> dict[str, str]:
    """Read the lines `LENGTH KEY=VALUE` of a pax header."""
    fields, start = {}, 0
    while start < len(data):
        digits = data[start : start + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        line = data[start : start + length]
        if not len(digits) < length == len(line) or not line.endswith(b"\n") or b"=" not in line:
            raise ShardError(f"{file.path} is damaged: one of its pax headers cannot be read; fetch it again")
        key, _, value = line[len(digits) + 1 : -1].partition(b"=")
        fields[key.decode(errors="replace")] = value.decode(errors="replace")
        start += length
    return fields


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _require_nothing_behind(file: Shard, read: Read, end: int) -> None:
    """Refuse archives joined by `cat`, whose second one would be lost, and zeros in the middle of one."""
    if read(end, min(_CHECKED_BEHIND_END, file.size - end)).strip(b"\0"):
        raise ShardError(
            f"{file.path} goes on after its end mark at byte {end}; join archives with `tar --concatenate`, "
            "or fetch it again"
        )
