"""Which files one tokenizer and its priors write and read, and how large these may be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from vqvae2.codec.bitstream import (
    FINGERPRINT_BYTES,
    MOST_CHANNELS,
    MOST_LEVELS,
    Bitstream,
    Header,
    level_check,
)
from vqvae2.codec.fixed_width import packed_bytes
from vqvae2.codec.probabilities import PRECISION_BITS
from vqvae2.errors import BitstreamError, ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2

__all__ = ["FileChecks"]


class FileChecks:
    """Marks the files of one tokenizer and its priors, and refuses others.

    Args:
        tokenizer: Whose codes they hold.
        priors: One a level, top first, or none.
        bit_depth: Of the images.
        max_pixels: Larger images, as padded to whole codes, are refused.

    Raises:
        ConfigError: If the tokenizer has more levels or channels than a file can.
    """

    def __init__(self, tokenizer: VQVAE2, priors: Sequence[Prior], *, bit_depth: int, max_pixels: int) -> None:
        self._config = tokenizer.config
        if self._config.num_levels > MOST_LEVELS or self._config.in_channels > MOST_CHANNELS:
            raise ConfigError(
                f"a file holds at most {MOST_LEVELS} levels and {MOST_CHANNELS} channels, "
                f"but the tokenizer has {self._config.num_levels} and {self._config.in_channels}"
            )
        self._bit_depth, self._max_pixels = bit_depth, max_pixels
        self._num_classes = priors[0].space.num_classes if priors else 0
        self._tokenizer_hash = fingerprint(tokenizer)
        joined = "".join(fingerprint(prior) for prior in priors)
        self._priors_hash = hashlib.blake2b(joined.encode(), digest_size=16).hexdigest() if priors else ""

    def header(
        self,
        size: tuple[int, int],
        payload_bytes: tuple[int, ...],
        *,
        has_priors: bool,
        label: int | None = None,
        offset: int = 0,
    ) -> Header:
        """Make the header of a file of these models; see `Header` for the arguments."""
        return Header(
            size=size,
            channels=self._config.in_channels,
            bit_depth=self._bit_depth,
            tokenizer=_short(self._tokenizer_hash),
            priors=_short(self._priors_hash) if has_priors else "",
            label=label,
            offset=offset,
            payload_bytes=payload_bytes,
        )

    def level_checks(self, header: Header, levels: Sequence[np.ndarray]) -> tuple[bytes, ...]:
        """Give the check of each level of an image's codes `(h, w)`, top first."""
        salt = (self._tokenizer_hash + (self._priors_hash if header.priors else "")).encode()
        packed = [level.astype("<u4").tobytes() for level in levels]
        return tuple(level_check(salt, header, b"".join(packed[: level + 1])) for level in range(len(levels)))

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuse to write an image of more pixels than are read again.

        Raises:
            ConfigError: If `size` is above `max_pixels` as padded.
        """
        if self._padded_pixels(size) > self._max_pixels:
            raise ConfigError(
                f"an image {size[0]} pixels high and {size[1]} wide, padded to whole codes, has more than `max_pixels` "
                f"({self._max_pixels}); give a larger one, also to read it, or a smaller image"
            )

    def check(self, header: Header) -> None:
        """Refuse a file that these models did not write, before anything is allocated for it.

        Raises:
            BitstreamError: With the likely cause.
        """
        self._check_models(header)
        wanted = (self._config.in_channels, self._bit_depth)
        if (header.channels, header.bit_depth) != wanted or header.num_levels > self._config.num_levels:
            raise BitstreamError(
                f"the file claims {header.channels} channels of {header.bit_depth} bits in {header.num_levels} levels, "
                "which these models do not have; it is damaged"
            )
        if header.label is not None and not (header.priors and header.label < self._num_classes):
            raise BitstreamError(f"the file claims class {header.label}, which the priors do not have; it is damaged")
        if self._padded_pixels(header.size) > self._max_pixels:
            raise BitstreamError(
                f"the file claims an image {header.size[0]} pixels high and {header.size[1]} wide, padded more than "
                f"`max_pixels` ({self._max_pixels}); it is damaged, or a larger one must be given"
            )
        for level, length in enumerate(header.payload_bytes):
            self._check_length(header, level, length)

    def shapes(self, stream: Bitstream) -> tuple[tuple[int, int], ...]:
        """Grid `(h, w)` of each level that a file holds, top first."""
        return self._config.code_shapes(*stream.header.size)[: len(stream.payloads)]

    def _check_models(self, header: Header) -> None:
        if header.tokenizer != _short(self._tokenizer_hash):
            raise BitstreamError(
                f"the file was written with tokenizer {header.tokenizer}..., but this is tokenizer "
                f"{_short(self._tokenizer_hash)}...; give the pipeline that wrote it"
            )
        if header.priors and not self._priors_hash:
            raise BitstreamError("the file needs priors, but this pipeline has none; give the pipeline that wrote it")
        if header.priors and header.priors != _short(self._priors_hash):
            raise BitstreamError(
                f"the file was coded with priors {header.priors}..., but these are priors "
                f"{_short(self._priors_hash)}... of the same tokenizer; give the pipeline that wrote it"
            )

    def _check_length(self, header: Header, level: int, length: int) -> None:
        height, width = self._config.code_shapes(*header.size)[level]
        count = height * width
        if header.priors:  # no code takes more than all bits of the counts, but for what rounding an interval costs
            fits = length <= -(-count * PRECISION_BITS // 8) + 1
        else:
            fits = length == packed_bytes(count, self._config.codebook_sizes[level])
        if not fits:
            raise BitstreamError(
                f"the file claims {length} bytes for the {count} codes of its level {level + 1}; it is damaged"
            )

    def _padded_pixels(self, size: tuple[int, int]) -> int:
        height, width = self._config.code_shapes(*size)[0]
        return height * width * self._config.stride**2


def _short(digest: str) -> str:
    return digest[: 2 * FINGERPRINT_BYTES]
