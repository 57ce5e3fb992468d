"""Describe a compressed image without the models that decode it."""

from __future__ import annotations

import io
import math
from typing import Any, BinaryIO

from vqvae2.codec.bitstream import VERSION, read_bitstream, write_bitstream

__all__ = ["describe_compressed"]

_ANY_NUMBER = 2**62  # of pixels: nothing is decoded


def describe_compressed(file: BinaryIO) -> dict[str, Any]:
    """Give the facts of a file: its format, size, models and levels, and whether it is whole.

    Args:
        file: At its beginning, and seekable; it may be cut.

    Raises:
        BitstreamError: If it is no such file, or cut before the end of its top level.
    """
    stream = read_bitstream(file, allow_cut=True, max_pixels=_ANY_NUMBER)
    header, num_bytes = stream.header, file.seek(0, io.SEEK_END)
    is_whole = num_bytes == len(write_bitstream(stream)) and len(stream.payloads) == header.num_levels
    cut_from = len(stream.payloads) + 1
    pixels = math.prod(header.size)
    return {
        "kind": "compressed image",
        "format_version": VERSION,
        "height": header.size[0],
        "width": header.size[1],
        "channels": header.channels,
        "bit_depth": header.bit_depth,
        "mode": "prior" if header.priors else "raw",
        "tokenizer": header.tokenizer,
        "priors": header.priors or None,
        "class_index": header.label,
        **({"offset": header.offset} if header.offset else {}),
        "bytes": num_bytes,
        "header_bytes": len(header.pack()),
        "bits_per_pixel": 8 * num_bytes / pixels,
        "levels": [
            {"level": level, "bytes": count, "bits_per_pixel": 8 * count / pixels}
            for level, count in enumerate(header.payload_bytes, start=1)
        ],
        "whole": is_whole,
        **({} if is_whole else {"cut_from": f"level {cut_from}" if cut_from <= header.num_levels else "checksum"}),
    }
