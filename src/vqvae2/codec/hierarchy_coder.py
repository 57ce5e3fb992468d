"""The codes of all levels to the bytes of files and back, without loss.

Shapes: B images, h x w code grid of a level.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vqvae2.checkpoint import fingerprint
from vqvae2.codec.bitstream import (
    FINGERPRINT_BYTES,
    MOST_CHANNELS,
    MOST_LEVELS,
    Bitstream,
    Header,
    level_check,
    write_bitstream,
)
from vqvae2.codec.fixed_width import pack_codes, packed_bytes, unpack_codes
from vqvae2.codec.level_coding import decode_level, encode_level
from vqvae2.codec.probabilities import GUARD_STEPS, OFFSETS_PER_STEP, PRECISION_BITS
from vqvae2.codes import Codes
from vqvae2.errors import BitstreamError, CheckpointError, ConfigError
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2

__all__ = ["HierarchyCoder", "Mode", "OnProgress"]

Mode = Literal["prior", "raw"]
"""How codes are written: with the priors' probabilities, or each with as many bits as its codebook needs."""

OnProgress = Callable[[int, int], None]
"""Is told the number of codes done, of all images together, and their total."""

# Where the rounding grid is moved to, try after try, when a logit lies too near to a boundary of rounding.
_OFFSETS = tuple(number * 37 % OFFSETS_PER_STEP for number in range(8))


class HierarchyCoder:
    """Writes and reads the codes of one tokenizer.

    Args:
        tokenizer: Whose codes they are.
        priors: One a level, top first, or none. Copies in float64 are made of them, where they are.
        bit_depth: Of the images, noted in every file.
        max_pixels: Larger images, as padded to whole codes, are refused.
    """

    def __init__(self, tokenizer: VQVAE2, priors: Sequence[Prior], *, bit_depth: int, max_pixels: int) -> None:
        self._config = tokenizer.config
        if self._config.num_levels > MOST_LEVELS or self._config.in_channels > MOST_CHANNELS:
            raise ConfigError(
                f"a file holds at most {MOST_LEVELS} levels and {MOST_CHANNELS} channels, "
                f"but the tokenizer has {self._config.num_levels} and {self._config.in_channels}"
            )
        self._bit_depth, self._max_pixels = bit_depth, max_pixels
        self._priors = [_to_float64(prior) for prior in priors]
        self._tokenizer_hash = fingerprint(tokenizer)
        joined = "".join(fingerprint(prior) for prior in priors)
        self._priors_hash = hashlib.blake2b(joined.encode(), digest_size=16).hexdigest() if priors else ""

    @property
    def has_priors(self) -> bool:
        return bool(self._priors)

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuse an image of more pixels than are read again.

        Raises:
            ConfigError: If `size` is above `max_pixels` as padded.
        """
        if self._padded_pixels(size) > self._max_pixels:
            raise ConfigError(
                f"an image of {size[0]}x{size[1]} pixels, padded to whole codes, has more than `max_pixels` "
                f"({self._max_pixels}); give more, also to read it, or a smaller image"
            )

    def encode(
        self,
        codes: Codes,
        *,
        size: tuple[int, int],
        mode: Mode,
        labels: Sequence[int | None],
        verify: bool,
        on_progress: OnProgress | None = None,
    ) -> list[bytes]:
        """Encode B images of one size.

        Args:
            codes: Of the first level or more, on any device.
            size: Height and width of the images in pixels.
            mode: See `Mode`.
            labels: The class of each image that the priors are told, None for no class.
            verify: Whether to decode every file again, and compare.
            on_progress: Is told of progress; verifying counts.

        Returns:
            A file an image.

        Raises:
            BitstreamError: If a file does not decode to its codes: this machine does not give the same result twice.
            CheckpointError: If `mode` is "prior" and there are no priors.
            ConfigError: If a label does not fit, or the image is too large.
            ValueError: If codes do not fit the tokenizer.
        """
        self._check_codes(codes, size)
        self.check_size(size)
        passes = 2 if verify else 1
        tick = _Counter(on_progress, passes * sum(level.numel() for level in codes))
        if mode == "raw":
            self._tensor_of(labels, mode)
            payloads, offsets = self._pack(codes), np.zeros(codes.batch_size, dtype=np.int64)
            tick(sum(level.numel() for level in codes))
        else:
            payloads, offsets = self._encode_with_priors(codes, labels, tick)
        arrays = [level.cpu().numpy() for level in codes]
        streams: list[Bitstream] = []
        for image, image_payloads in enumerate(payloads):
            header = Header(
                size=size,
                channels=self._config.in_channels,
                bit_depth=self._bit_depth,
                tokenizer=_short(self._tokenizer_hash),
                priors=_short(self._priors_hash) if mode == "prior" else "",
                label=labels[image],
                offset=int(offsets[image]),
                payload_bytes=tuple(len(payload) for payload in image_payloads),
            )
            checks = self._checks(header, [level[image] for level in arrays])
            streams.append(Bitstream(header, tuple(image_payloads), checks))
        if verify:
            self._verify(streams, codes, tick)
        return [write_bitstream(stream) for stream in streams]

    def decode(self, streams: Sequence[Bitstream], *, on_progress: OnProgress | None = None) -> Codes:
        """Decode B images whose `key` is the same.

        Returns:
            The codes of the levels that the files hold, on the CPU.

        Raises:
            BitstreamError: If a file is of other models, or its codes do not match their checks.
        """
        for stream in streams:
            self.check(stream.header)
        shapes = self._shapes(streams[0])
        total = len(streams) * sum(height * width for height, width in shapes)
        return self._decode(streams, _Counter(on_progress, total))

    def key(self, stream: Bitstream) -> tuple[object, ...]:
        """Say what the streams share that can be decoded together."""
        return self._config.code_shapes(*stream.header.size), len(stream.payloads), bool(stream.header.priors)

    def check(self, header: Header) -> None:
        """Refuse a file that these models did not write, before anything is allocated for it.

        Raises:
            BitstreamError: With the likely cause.
        """
        if header.tokenizer != _short(self._tokenizer_hash):
            raise BitstreamError(
                f"the file was written with tokenizer {header.tokenizer}..., but this is tokenizer "
                f"{_short(self._tokenizer_hash)}...; give the pipeline that wrote it"
            )
        if header.priors and not self._priors:
            raise BitstreamError(
                "the file was coded with priors, but this pipeline has none; give the one that wrote it"
            )
        if header.priors and header.priors != _short(self._priors_hash):
            raise BitstreamError(
                f"the file was coded with priors {header.priors}..., but these are priors "
                f"{_short(self._priors_hash)}..., of the same tokenizer; give the pipeline that wrote it"
            )
        wanted = (self._config.in_channels, self._bit_depth)
        if (header.channels, header.bit_depth) != wanted or header.num_levels > self._config.num_levels:
            raise BitstreamError(
                f"the file claims {header.channels} channels of {header.bit_depth} bits in {header.num_levels} levels, "
                f"which this pipeline does not have; it is damaged"
            )
        if header.label is not None and not (header.priors and header.label < self._num_classes):
            raise BitstreamError(f"the file claims class {header.label}, which the priors do not have; it is damaged")
        if self._padded_pixels(header.size) > self._max_pixels:
            raise BitstreamError(
                f"the file claims {header.size[0]}x{header.size[1]} pixels, padded more than `max_pixels` "
                f"({self._max_pixels}); it is damaged, or more must be given"
            )
        self._check_lengths(header)

    def _check_lengths(self, header: Header) -> None:
        shapes = self._config.code_shapes(*header.size)
        for level, length in enumerate(header.payload_bytes):
            count, num_embeddings = shapes[level][0] * shapes[level][1], self._config.codebook_sizes[level]
            if header.priors:  # no code takes more than all bits of the counts
                fits = length <= -(-count * PRECISION_BITS // 8) + 1
            else:
                fits = length == packed_bytes(count, num_embeddings)
            if not fits:
                raise BitstreamError(
                    f"the file claims {length} bytes for the {count} codes of its level {level + 1}; it is damaged"
                )

    def _encode_with_priors(
        self, codes: Codes, labels: Sequence[int | None], tick: _Counter
    ) -> tuple[list[list[bytes]], np.ndarray]:
        """Give the payloads of each image, top first, and the offset of its grid.

        The rare image of which a logit lies so near to a boundary that another machine might round it to the other
        side is coded again on a moved grid.
        """
        classes = self._tensor_of(labels, "prior")
        payloads: list[list[bytes]] = [[] for _ in range(codes.batch_size)]
        offsets = np.zeros(codes.batch_size, dtype=np.int64)
        margins = np.full(codes.batch_size, -1.0)
        pending = np.arange(codes.batch_size)
        for offset in _OFFSETS:
            chosen = torch.from_numpy(pending)
            coded = [
                encode_level(
                    self._priors[level],
                    maps[-1],
                    above=maps[:-1],
                    labels=None if classes is None else classes[chosen.to(classes.device)],
                    offsets=np.full(len(pending), offset),
                    on_step=tick,
                )
                for level, maps in enumerate(self._growing(codes.select(chosen)))
            ]
            found = np.min([level.margin_steps for level in coded], axis=0)
            for place, image in enumerate(pending):
                if found[place] > margins[image]:
                    payloads[image] = [level.payloads[place] for level in coded]
                    offsets[image], margins[image] = offset, found[place]
            pending = pending[found < GUARD_STEPS]
            if not len(pending):
                break
            tick.add_to_total(sum(level[0].numel() for level in codes) * len(pending))
        return payloads, offsets

    def _growing(self, codes: Codes) -> list[list[Tensor]]:
        """For each level, its codes and those of all levels above, on the device of the level's prior."""
        return [[maps.to(self._device(level)) for maps in codes.maps[: level + 1]] for level in range(len(codes))]

    def _decode(self, streams: Sequence[Bitstream], tick: _Counter) -> Codes:
        header = streams[0].header
        classes = self._tensor_of([stream.header.label for stream in streams], "prior") if header.priors else None
        offsets = np.array([stream.header.offset for stream in streams], dtype=np.int64)
        maps: list[Tensor] = []
        for level, shape in enumerate(self._shapes(streams[0])):
            payloads = [stream.payloads[level] for stream in streams]
            if header.priors:
                device = self._device(level)
                decoded = decode_level(
                    self._priors[level],
                    payloads,
                    size=shape,
                    above=[above.to(device) for above in maps],
                    labels=classes,
                    offsets=offsets,
                    on_step=tick,
                ).cpu()
            else:
                decoded = self._unpack(payloads, level, shape)
                tick(decoded.numel())
            maps.append(decoded)
            self._check_decoded(streams, maps)
        return Codes(tuple(maps))

    def _check_decoded(self, streams: Sequence[Bitstream], maps: Sequence[Tensor]) -> None:
        """Compare the last of some levels with its check."""
        arrays = [level.numpy() for level in maps]
        for image, stream in enumerate(streams):
            check = self._checks(stream.header, [level[image] for level in arrays])[-1]
            if check != stream.checks[len(maps) - 1]:
                raise BitstreamError(
                    f"the codes of level {len(maps)} of {stream.header.num_levels} do not match their checksum: "
                    "the file is damaged, or this is another tokenizer or other priors than wrote it"
                )

    def _verify(self, streams: Sequence[Bitstream], codes: Codes, tick: _Counter) -> None:
        decoded = self._decode(streams, tick)
        if not all(torch.equal(level, wanted.cpu()) for level, wanted in zip(decoded, codes, strict=True)):
            raise BitstreamError(
                "a file did not decode to its own codes: this machine computes wrongly; nothing is kept"
            )

    def _checks(self, header: Header, levels: Sequence[np.ndarray]) -> tuple[bytes, ...]:
        salt = (self._tokenizer_hash + (self._priors_hash if header.priors else "")).encode()
        packed = [level.astype("<u4").tobytes() for level in levels]
        return tuple(level_check(salt, header, b"".join(packed[: level + 1])) for level in range(len(levels)))

    def _pack(self, codes: Codes) -> list[list[bytes]]:
        sizes = self._config.codebook_sizes
        arrays = [level.flatten(1).cpu().numpy() for level in codes]
        return [
            [pack_codes(level[image], size) for level, size in zip(arrays, sizes, strict=False)]
            for image in range(codes.batch_size)
        ]

    def _unpack(self, payloads: Sequence[bytes], level: int, shape: tuple[int, int]) -> Tensor:
        size, count = self._config.codebook_sizes[level], shape[0] * shape[1]
        unpacked = [unpack_codes(payload, count, size).reshape(shape) for payload in payloads]
        return torch.from_numpy(np.stack(unpacked))

    def _tensor_of(self, labels: Sequence[int | None], mode: Mode) -> Tensor | None:
        """Give the classes as priors want them: int64 `(B,)`, or None for priors without classes."""
        given = [label for label in labels if label is not None]
        if mode == "prior" and not self._priors:
            raise CheckpointError("this pipeline has no priors; train a prior for every level, or take `mode` raw")
        if mode == "raw" and given:
            raise ConfigError(
                f"`label` must be None where `mode` is raw, since codes need no class there, got {given[0]}"
            )
        if mode == "raw" or not self._num_classes:
            if given:
                raise ConfigError(f"`label` must be None, since the priors have no classes, got {given[0]}")
            return None
        if any(not 0 <= label < self._num_classes for label in given):
            raise ConfigError(f"`label` must be in 0..{self._num_classes - 1}, got {max(given)}")
        numbers = [self._num_classes if label is None else label for label in labels]
        return torch.tensor(numbers, device=self._device(0))

    def _check_codes(self, codes: Codes, size: tuple[int, int]) -> None:
        wanted = self._config.code_shapes(*size)[: len(codes)]
        if codes.shapes != wanted:
            raise ValueError(f"`codes` must have shapes {wanted} for images of {size} pixels, got {codes.shapes}")
        for level, (maps, num_embeddings) in enumerate(zip(codes, self._config.codebook_sizes, strict=False)):
            if maps.numel() and not 0 <= int(maps.min()) <= int(maps.max()) < num_embeddings:
                raise ValueError(f"`codes[{level}]` must be in 0..{num_embeddings - 1}")

    @property
    def _num_classes(self) -> int:
        return self._priors[0].space.num_classes if self._priors else 0

    def _device(self, level: int) -> torch.device:
        return next(self._priors[level].parameters()).device

    def _shapes(self, stream: Bitstream) -> tuple[tuple[int, int], ...]:
        return self._config.code_shapes(*stream.header.size)[: len(stream.payloads)]

    def _padded_pixels(self, size: tuple[int, int]) -> int:
        height, width = self._config.code_shapes(*size)[0]
        return height * width * self._config.stride**2


class _Counter:
    """Counts codes for a caller who wants to know."""

    def __init__(self, report: OnProgress | None, total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def __call__(self, count: int) -> None:
        self._done += count
        if self._report is not None:
            self._report(self._done, self._total)

    def add_to_total(self, count: int) -> None:
        self._total += count


def _to_float64(prior: Prior) -> Prior:
    """Copy a prior in float64, on its own device if that knows it."""
    copied = copy.deepcopy(prior).eval()
    if next(copied.parameters()).device.type == "mps":
        copied = copied.cpu()
    return copied.double()


def _short(digest: str) -> str:
    return digest[: 2 * FINGERPRINT_BYTES]
