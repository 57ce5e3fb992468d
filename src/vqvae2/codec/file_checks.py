"""Which files one tokenizer and its priors write and read, and how large these may be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from vqvae2.codec.bitstream import FINGERPRINT_BYTES, MOST_CHANNELS, MOST_LEVELS, Header, padded_pixels
from vqvae2.codec.entropy import PRECISION_BITS
from vqvae2.codec.fixed_width import packed_bytes
from vqvae2.errors import BitstreamError, ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2

__all__ = ["FileChecks"]

_MARK_DIGITS = 2 * FINGERPRINT_BYTES


class FileChecks:
    """Knows the marks of one tokenizer and its priors, and refuses the files of others.

    Args:
        tokenizer: Its codes are in the files.
        priors: One per level, top first, or none.
        bit_depth: Of the images.
        max_pixels: The largest image to read, as padded to whole codes.

    Raises:
        ConfigError: If the tokenizer has more levels or channels than a file can hold.
    """

    def __init__(self, tokenizer: VQVAE2, priors: Sequence[Prior], *, bit_depth: int, max_pixels: int) -> None:
        self.config, self.bit_depth, self.max_pixels = tokenizer.config, bit_depth, max_pixels
        if self.config.num_levels > MOST_LEVELS or self.config.in_channels > MOST_CHANNELS:
            raise ConfigError(
                f"a file holds at most {MOST_LEVELS} levels and {MOST_CHANNELS} channels, "
                f"but the tokenizer has {self.config.num_levels} and {self.config.in_channels}"
            )
        self.num_classes = priors[0].space.num_classes if priors else 0
        self.tokenizer_hash = fingerprint(tokenizer)
        joined = "".join(fingerprint(prior) for prior in priors)
        self.priors_hash = hashlib.blake2b(joined.encode(), digest_size=16).hexdigest() if priors else ""
        self.tokenizer_mark, self.priors_mark = self.tokenizer_hash[:_MARK_DIGITS], self.priors_hash[:_MARK_DIGITS]
        """The part of each hash that stands in a file's header."""

    def check(self, header: Header) -> None:
        """Refuse a file that these models did not write, before anything is allocated for it.

        Raises:
            BitstreamError: With the likely cause.
        """
        self._check_models(header)
        wanted = (self.config.in_channels, self.bit_depth)
        if (header.channels, header.bit_depth) != wanted or header.num_levels > self.config.num_levels:
            raise BitstreamError(
                f"the file claims {header.channels} channels of {header.bit_depth} bits in {header.num_levels} levels, "
                "which these models do not have; it is damaged"
            )
        if header.label is not None and not (header.priors and header.label < self.num_classes):
            raise BitstreamError(f"the file claims class {header.label}, which the priors do not have; it is damaged")
        if padded_pixels(header.size, self.config.stride) > self.max_pixels:
            raise BitstreamError(
                f"the file claims an image {header.size[0]} pixels high and {header.size[1]} wide, padded more than "
                f"`max_pixels` ({self.max_pixels}); it is damaged, or `max_pixels` must be larger"
            )
        for level, length in enumerate(header.payload_bytes):
            self._check_length(header, level, length)

    def _check_models(self, header: Header) -> None:
        if header.tokenizer != self.tokenizer_mark:
            raise BitstreamError(
                f"the file was written with tokenizer {header.tokenizer}..., but this is tokenizer "
                f"{self.tokenizer_mark}...; give the pipeline that wrote it"
            )
        if header.priors and not self.priors_mark:
            raise BitstreamError("the file needs priors, but this pipeline has none; give the pipeline that wrote it")
        if header.priors and header.priors != self.priors_mark:
            raise BitstreamError(
                f"the file was coded with priors {header.priors}..., but these are priors "
                f"{self.priors_mark}... of the same tokenizer; give the pipeline that wrote it"
            )

    def _check_length(self, header: Header, level: int, length: int) -> None:
        height, width = self.config.code_shapes(*header.size)[level]
        count = height * width
        if header.priors:  # no code takes more than all bits of the counts, but for what rounding an interval costs
            fits = length <= -(-count * PRECISION_BITS // 8) + 1
        else:
            fits = length == packed_bytes(count, self.config.codebook_sizes[level])
        if not fits:
            raise BitstreamError(
                f"the file claims {length} bytes for the {count} codes of its level {level + 1}; it is damaged"
            )
