"""The codes of all levels to the bytes of files and back, without loss.

Shapes: B images, h x w code grid of a level.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Sequence
from numbers import Integral
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from vqvae2.codec.bitstream import (
    CHECK_BYTES,
    FINGERPRINT_BYTES,
    MOST_CHANNELS,
    MOST_LEVELS,
    Bitstream,
    Header,
    Mode,
    write_bitstream,
)
from vqvae2.codec.entropy import GUARD_STEPS, OFFSETS_PER_STEP, PRECISION_BITS, LevelDecoder, LevelEncoder
from vqvae2.codec.fixed_width import pack_codes, packed_bytes, unpack_codes
from vqvae2.codes import Codes
from vqvae2.errors import BitstreamError, CheckpointError, ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.walk import Choose, walk

__all__ = ["GRID_OFFSETS", "HierarchyCoder"]

GRID_OFFSETS = tuple(number * 37 % OFFSETS_PER_STEP for number in range(64))
"""Where the rounding grid is moved to, try after try, while a logit lies too near to a boundary of rounding."""


class HierarchyCoder:
    """Writes and reads the codes of one tokenizer, and refuses the files of others.

    Args:
        tokenizer: Its codes are in the files.
        priors: One per level, top first, or none. Copies in float64 are made at their first use, on their devices.
        bit_depth: Of the images.

    Raises:
        ConfigError: If the tokenizer has more levels or channels than a file can hold.
    """

    def __init__(self, tokenizer: VQVAE2, priors: Sequence[Prior], *, bit_depth: int) -> None:
        self._config, self._priors, self._bit_depth = tokenizer.config, tuple(priors), bit_depth
        if self._config.num_levels > MOST_LEVELS or self._config.in_channels > MOST_CHANNELS:
            raise ConfigError(
                f"a file holds at most {MOST_LEVELS} levels and {MOST_CHANNELS} channels, "
                f"but the tokenizer has {self._config.num_levels} and {self._config.in_channels}"
            )
        self._copies: dict[int, Prior] = {}
        self._num_classes = priors[0].space.num_classes if priors else 0
        self._tokenizer_hash = fingerprint(tokenizer)
        joined = "".join(fingerprint(prior) for prior in priors)
        self._priors_hash = hashlib.blake2b(joined.encode(), digest_size=16).hexdigest() if priors else ""
        # The beginning of each hash stands in a file's header, in hexadecimal digits.
        self._tokenizer_mark = self._tokenizer_hash[: 2 * FINGERPRINT_BYTES]
        self._priors_mark = self._priors_hash[: 2 * FINGERPRINT_BYTES]

    def check(self, header: Header) -> None:
        """Refuse a file that these models did not write, before anything is allocated for it.

        Raises:
            BitstreamError: With the likely cause.
        """
        if header.tokenizer != self._tokenizer_mark:
            raise BitstreamError(
                f"the file was written with tokenizer {header.tokenizer}..., but this is tokenizer "
                f"{self._tokenizer_mark}...; give the pipeline that wrote it"
            )
        if header.priors and not self._priors:
            raise BitstreamError("the file needs priors, but this pipeline has none; give the pipeline that wrote it")
        if header.priors and header.priors != self._priors_mark:
            raise BitstreamError(
                f"the file was coded with priors {header.priors}..., but these are priors "
                f"{self._priors_mark}... of the same tokenizer; give the pipeline that wrote it"
            )
        wanted = (self._config.in_channels, self._bit_depth)
        if (header.channels, header.bit_depth) != wanted or header.num_levels > self._config.num_levels:
            raise BitstreamError(
                f"the file claims {header.channels} channels of {header.bit_depth} bits in {header.num_levels} levels, "
                "which these models do not have; it is damaged"
            )
        if header.label is not None and not (header.priors and header.label < self._num_classes):
            raise BitstreamError(f"the file claims class {header.label}, which the priors do not have; it is damaged")
        shapes = self._config.code_shapes(*header.size)
        for level, (length, shape) in enumerate(zip(header.payload_bytes, shapes, strict=False)):
            count = math.prod(shape)
            if header.priors:
                # No code takes more than all bits of the counts, but for what rounding an interval costs.
                fits = length <= -(-count * PRECISION_BITS // 8) + 1
            else:
                fits = length == packed_bytes(count, self._config.codebook_sizes[level])
            if not fits:
                raise BitstreamError(
                    f"the file claims {length} bytes for the {count} codes of its level {level + 1}; it is damaged"
                )

    def encode(
        self,
        codes: Codes,
        *,
        size: tuple[int, int],
        mode: Mode | None,
        labels: Sequence[int | None],
        verify: bool,
        hooks: Hooks,
    ) -> list[bytes]:
        """Encode the codes of B images of one size, on any device, one file each; see `Codec.compress_codes`."""
        mode = mode or ("prior" if self._priors else "raw")
        self._check_labels(labels, mode)
        labels = [None if label is None else int(label) for label in labels]  # NumPy's integers too
        num_codes = sum(level.numel() for level in codes)
        counter = _Counter(hooks, num_codes * (2 if verify else 1))
        # Payloads of all levels.
        if mode == "prior":
            payloads, offsets = self._encode_with_priors(codes, labels, counter)
        else:
            arrays = [level.flatten(1).cpu().numpy() for level in codes]
            sizes = self._config.codebook_sizes
            payloads = [list(map(pack_codes, image, sizes)) for image in zip(*arrays, strict=True)]
            offsets = [0] * codes.batch_size
            counter.add(num_codes)
        # Headers, and the checks that depend on them.
        levels = [level.cpu().numpy() for level in codes]
        streams: list[Bitstream] = []
        for image in range(codes.batch_size):
            header = Header(
                size=size,
                channels=self._config.in_channels,
                bit_depth=self._bit_depth,
                tokenizer=self._tokenizer_mark,
                priors=self._priors_mark if mode == "prior" else "",
                label=labels[image],
                offset=offsets[image],
                payload_bytes=tuple(len(payload) for payload in payloads[image]),
            )
            checks = tuple(self._check_of(header, levels[: level + 1], image) for level in range(len(levels)))
            streams.append(Bitstream(header, tuple(payloads[image]), checks))
        if verify:
            self._decode(streams, counter, [""] * len(streams))  # which compares all codes with their checks
        return [write_bitstream(stream) for stream in streams]

    def decode(self, streams: Sequence[Bitstream], *, names: Sequence[str], hooks: Hooks) -> Codes:
        """Decode the files of B images that share their key and were checked, into codes on the CPU.

        Raises:
            BitstreamError: If the codes of a file do not match their checks; the error begins with the file's name.
        """
        shapes = self._config.code_shapes(*streams[0].header.size)[: len(streams[0].payloads)]
        total = len(streams) * sum(height * width for height, width in shapes)
        return self._decode(streams, _Counter(hooks, total), names)

    def _encode_with_priors(
        self, codes: Codes, labels: Sequence[int | None], counter: _Counter
    ) -> tuple[list[list[bytes]], list[int]]:
        """Give the payloads of each image, top first, and the offset of its grid.

        The rare image of which a logit lies so near to a boundary that another machine might round it to the other
        side is coded again on a moved grid.
        """
        payloads: list[list[bytes]] = [[] for _ in labels]
        offsets = [0] * len(labels)
        pending = list(range(len(labels)))
        for offset in GRID_OFFSETS:
            batch = codes.select(torch.tensor(pending))
            batch_labels = [labels[image] for image in pending]
            coded: list[list[bytes]] = []
            margins = np.full(len(pending), 0.5)
            for level in range(len(codes)):
                # Walk the level, and code each front as the decoder will meet it.
                encoder = LevelEncoder(batch[level].to(self._device(level)), offset, counter.add)
                self._walk(level, encoder.choose, batch.shapes[level], batch.maps[:level], batch_labels)
                coded.append(encoder.finish())
                margins = np.minimum(margins, encoder.margins)
            for place, image in enumerate(pending):
                payloads[image], offsets[image] = [level_payloads[place] for level_payloads in coded], offset
            # Images that came too near to a boundary go once more, on the next grid.
            pending = [image for image, margin in zip(pending, margins, strict=True) if margin < GUARD_STEPS]
            if not pending:
                return payloads, offsets
            counter.expect(sum(level[0].numel() for level in codes) * len(pending))
        raise BitstreamError(
            f"on each of {len(GRID_OFFSETS)} grids, a logit lies where another machine might round it otherwise, and "
            "so decode other codes; take `mode` raw, or smaller images"
        )

    def _decode(self, streams: Sequence[Bitstream], counter: _Counter, names: Sequence[str]) -> Codes:
        maps: list[Tensor] = []
        shapes = self._config.code_shapes(*streams[0].header.size)
        for level in range(len(streams[0].payloads)):
            payloads = [stream.payloads[level] for stream in streams]
            if streams[0].header.priors:
                offsets = np.array([stream.header.offset for stream in streams])
                decoder = LevelDecoder(payloads, offsets, counter.add)
                labels = [stream.header.label for stream in streams]
                decoded = self._walk(level, decoder.choose, shapes[level], maps, labels)
            else:
                count, num_embeddings = math.prod(shapes[level]), self._config.codebook_sizes[level]
                unpacked = np.stack([unpack_codes(payload, count, num_embeddings) for payload in payloads])
                decoded = torch.from_numpy(unpacked).unflatten(1, shapes[level])
                counter.add(decoded.numel())
            maps.append(decoded.cpu())
            # A level that is wrong would mislead those below, so each is checked at once.
            arrays = [level_maps.numpy() for level_maps in maps]
            for image, stream in enumerate(streams):
                if self._check_of(stream.header, arrays, image) != stream.checks[level]:
                    raise BitstreamError(
                        f"{names[image]}the codes of level {level + 1} of {stream.header.num_levels} do not match "
                        "their checksum: the file is damaged, or these are not the models that wrote it"
                    )
        return Codes(tuple(maps))

    def _check_of(self, header: Header, levels: Sequence[np.ndarray], image: int) -> bytes:
        """Hash an image's codes of levels `(B, h, w)`, top first, with all that they depend on."""
        salt = self._tokenizer_hash + (self._priors_hash if header.priors else "")
        packed = b"".join([level[image].astype("<u4").tobytes() for level in levels])
        return hashlib.blake2b(salt.encode() + header.pack() + packed, digest_size=CHECK_BYTES).digest()

    def _walk(
        self, level: int, choose: Choose, size: tuple[int, int], above: Sequence[Tensor], labels: Sequence[int | None]
    ) -> Tensor:
        """Walk one level of B images in float64."""
        prior, device = self._float64_prior(level), self._device(level)
        num_classes = prior.space.num_classes
        numbers = [num_classes if label is None else label for label in labels]
        return walk(
            prior,
            choose,
            batch_size=len(labels),
            size=size,
            above=[maps.to(device) for maps in above],
            labels=torch.tensor(numbers, device=device) if num_classes else None,
        )

    def _device(self, level: int) -> torch.device:
        """Give the device of a level's walk: that of its prior, if that knows float64."""
        return next(self._float64_prior(level).parameters()).device

    def _float64_prior(self, level: int) -> Prior:
        if level not in self._copies:
            copied = copy.deepcopy(self._priors[level]).eval()
            is_on_mps = next(copied.parameters()).device.type == "mps"
            self._copies[level] = (copied.cpu() if is_on_mps else copied).double()
        return self._copies[level]

    def _check_labels(self, labels: Sequence[int | None], mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"`mode` must be {' or '.join(get_args(Mode))}, got {mode!r}")
        if mode == "prior" and not self._priors:
            raise CheckpointError("this pipeline has no priors; train a prior for every level, or take `mode` raw")
        num_classes = self._num_classes if mode == "prior" else 0
        for label in labels:
            if label is not None and not (isinstance(label, Integral) and 0 <= label < num_classes):
                wanted = f"in 0..{num_classes - 1} or None" if num_classes else "None, since no prior is told a class"
                raise ConfigError(f"`label` must be {wanted}, got {label}")


class _Counter:
    """Counts codes, and tells the hooks."""

    def __init__(self, hooks: Hooks, total: int) -> None:
        self._hooks, self._total, self._done = hooks, total, 0

    def add(self, count: int) -> None:
        self._done += count
        if self._hooks.on_progress is not None:
            self._hooks.on_progress(self._done, self._total)

    def expect(self, count: int) -> None:
        """Make the total larger."""
        self._total += count
