"""Texts and profiles in PNG files: long ones must cost neither the image nor memory."""

from __future__ import annotations

import zlib

from PIL import PngImagePlugin

__all__ = ["without_long_texts"]

_BEGINNING = b"\x89PNG\r\n\x1a\n"
_AROUND_DATA = 12  # bytes of a chunk: length, kind and checksum
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_MAX_TEXTS = PngImagePlugin.MAX_TEXT_MEMORY // 2  # bytes of all texts together
_TOO_LONG = _MAX_TEXTS + 1


def without_long_texts(data: bytes) -> bytes:
    """Leave out of a PNG file the texts and profiles over which PIL would refuse the image.

    These are those that unfold to more than PIL's limit for one, or for all of them. Files without any are returned as
    they are, and so is what is no PNG file. (PNG, third edition, 5.3 and 11.3.)
    """
    parts, kept_from, position, room = list[bytes](), 0, len(_BEGINNING), _MAX_TEXTS
    while data.startswith(_BEGINNING) and position + _AROUND_DATA <= len(data):
        length, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        end = position + _AROUND_DATA + length
        if kind in _TEXTS:
            size = _unfolded_bytes(kind, data[position + 8 : end - 4])
            if size > room:
                parts.append(data[kept_from:position])
                kept_from = end
            else:
                room -= size
        position = end
    return b"".join([*parts, data[kept_from:]]) if parts else data


def _unfolded_bytes(kind: bytes, content: bytes) -> int:
    """Return how long a text is, or `_TOO_LONG` where it unfolds to more than PIL's limit."""
    rest = content.partition(b"\0")[2]
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] != b"\1"):
        return len(content)
    packed = rest[2:].split(b"\0", 2)[-1] if kind == b"iTXt" else rest[1:]
    unpacker = zlib.decompressobj()
    try:
        size = len(unpacker.decompress(packed, PngImagePlugin.MAX_TEXT_CHUNK))
    except zlib.error:  # PIL passes it over
        return 0
    return _TOO_LONG if unpacker.unconsumed_tail else size
