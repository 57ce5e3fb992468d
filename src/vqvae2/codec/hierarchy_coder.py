"""The codes of all levels to the bytes of files and back, without loss.

Shapes: B images, h x w code grid of a level.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from vqvae2.codec.bitstream import Bitstream, Mode, write_bitstream
from vqvae2.codec.file_checks import FileChecks
from vqvae2.codec.fixed_width import pack_codes, unpack_codes
from vqvae2.codec.level_coding import EncodedLevel, decode_level, encode_level
from vqvae2.codec.probabilities import GUARD_STEPS, OFFSETS_PER_STEP
from vqvae2.codes import Codes
from vqvae2.config import VQVAE2Config
from vqvae2.errors import BitstreamError, CheckpointError, ConfigError
from vqvae2.models.prior import Prior
from vqvae2.sampling.hooks import Hooks

__all__ = ["HierarchyCoder", "Key", "Mode"]

"""How codes are written: with the priors' probabilities, or each with as many bits as its codebook needs."""

Key = tuple[tuple[tuple[int, int], ...], bool]
"""What files share that are decoded together: the grid `(h, w)` of each level, and whether priors coded them."""

# Where the rounding grid is moved to, try after try, when a logit lies too near to a boundary of rounding.
_OFFSETS = tuple(number * 37 % OFFSETS_PER_STEP for number in range(64))


class HierarchyCoder:
    """Writes and reads the codes of one tokenizer.

    Args:
        config: Of the tokenizer.
        priors: One a level, top first, or none. Copies in float64 are made when they are first used, on their devices.
        checks: Of the same models.
    """

    def __init__(self, config: VQVAE2Config, priors: Sequence[Prior], checks: FileChecks) -> None:
        self._codebook_sizes = config.codebook_sizes
        self._code_shapes = config.code_shapes
        self._priors = tuple(priors)
        self._copies: dict[int, Prior] = {}
        self._checks = checks

    def encode(
        self,
        codes: Codes,
        *,
        size: tuple[int, int],
        mode: Mode,
        labels: Sequence[int | None],
        verify: bool,
        hooks: Hooks = Hooks(),
    ) -> list[bytes]:
        """Encode B images of one size.

        Args:
            codes: Of the first level or more, on any device.
            size: Height and width of the images in pixels.
            mode: See `Mode`.
            labels: The class of each image that the priors are told, None for no class.
            verify: Whether to decode every file again, and compare.
            hooks: Receive progress; verifying counts.

        Returns:
            A file an image.

        Raises:
            BitstreamError: If a file does not decode to its codes, since this machine does not give the same result
                twice, or an image cannot be coded so that all machines decode it.
            CheckpointError: If `mode` is "prior" and there are no priors.
            ConfigError: If `mode` or a label does not fit.
            ValueError: If codes do not fit the tokenizer.
        """
        if mode not in get_args(Mode):
            raise ConfigError(f"`mode` must be {' or '.join(get_args(Mode))}, got {mode!r}")
        self._check_codes(codes, size)
        self._check_labels(labels, codes.batch_size, mode)
        labels = [None if label is None else int(label) for label in labels]  # of numpy's integers too
        num_codes = sum(level.numel() for level in codes)
        tick = _Counter(hooks, num_codes * (2 if verify else 1))
        if mode == "prior":
            payloads, offsets = self._encode_with_priors(codes, labels, tick)
        else:
            payloads, offsets = self._pack(codes), [0] * codes.batch_size
            tick(num_codes)
        arrays = [level.cpu().numpy() for level in codes]
        streams: list[Bitstream] = []
        for image in range(codes.batch_size):
            lengths = tuple(len(payload) for payload in payloads[image])
            header = self._checks.header(
                size, lengths, has_priors=mode == "prior", label=labels[image], offset=offsets[image]
            )
            checks = self._checks.level_checks(header, [level[image] for level in arrays])
            streams.append(Bitstream(header, tuple(payloads[image]), checks))
        if verify:
            self._decode(streams, tick)  # whose checks compare all codes
        return [write_bitstream(stream) for stream in streams]

    def decode(self, streams: Sequence[Bitstream], *, names: Sequence[str] = (), hooks: Hooks = Hooks()) -> Codes:
        """Decode B images whose `key` is the same, and that were checked.

        Args:
            streams: A file an image.
            names: What errors call each of them.
            hooks: Receive progress.

        Returns:
            The codes of the levels that the files hold, on the CPU.

        Raises:
            BitstreamError: If the codes of a file do not match their checks.
        """
        total = len(streams) * sum(height * width for height, width in self._checks.shapes(streams[0]))
        return self._decode(streams, _Counter(hooks, total), names)

    def key(self, stream: Bitstream) -> Key:
        """Say what this file must share with those that it is decoded with."""
        return self._checks.shapes(stream), bool(stream.header.priors)

    def _encode_with_priors(
        self, codes: Codes, labels: Sequence[int | None], tick: _Counter
    ) -> tuple[list[list[bytes]], list[int]]:
        """Give the payloads of each image, top first, and the offset of its grid.

        The rare image of which a logit lies so near to a boundary that another machine might round it to the other
        side is coded again on a moved grid.
        """
        payloads: list[list[bytes]] = [[] for _ in labels]
        offsets = [0] * len(labels)
        pending = np.arange(len(labels))
        for offset in _OFFSETS:
            coded = self._encode_on_grid(codes, pending, labels, offset, tick)
            for place, image in enumerate(pending):
                payloads[image] = [level.payloads[place] for level in coded]
                offsets[image] = offset
            margins = np.min([level.margin_steps for level in coded], axis=0)
            pending = pending[margins < GUARD_STEPS]
            if not len(pending):
                return payloads, offsets
            tick.expect(sum(level[0].numel() for level in codes) * len(pending))
        raise BitstreamError(
            f"on each of {len(_OFFSETS)} grids, a logit lies where another machine might round it otherwise, and so "
            "decode other codes; take `mode` raw, or smaller images"
        )

    def _encode_on_grid(
        self, codes: Codes, images: np.ndarray, labels: Sequence[int | None], offset: int, tick: _Counter
    ) -> list[EncodedLevel]:
        """Encode all levels of some images, whose grid is moved by `offset`."""
        selected = codes.select(torch.from_numpy(images))
        coded: list[EncodedLevel] = []
        for level in range(len(codes)):
            prior = self._prior(level)
            device = next(prior.parameters()).device
            *above, own = (maps.to(device) for maps in selected.maps[: level + 1])
            coded.append(
                encode_level(
                    prior,
                    own,
                    above=above,
                    labels=_class_numbers(prior, [labels[image] for image in images]),
                    offsets=np.full(len(images), offset),
                    on_step=tick,
                )
            )
        return coded

    def _decode(self, streams: Sequence[Bitstream], tick: _Counter, names: Sequence[str] = ()) -> Codes:
        maps: list[Tensor] = []
        for level, shape in enumerate(self._checks.shapes(streams[0])):
            payloads = [stream.payloads[level] for stream in streams]
            if streams[0].header.priors:
                prior = self._prior(level)
                device = next(prior.parameters()).device
                decoded = decode_level(
                    prior,
                    payloads,
                    size=shape,
                    above=[above.to(device) for above in maps],
                    labels=_class_numbers(prior, [stream.header.label for stream in streams]),
                    offsets=np.array([stream.header.offset for stream in streams]),
                    on_step=tick,
                )
            else:
                decoded = self._unpack(payloads, level, shape)
                tick(decoded.numel())
            maps.append(decoded.cpu())
            self._check_decoded(streams, [level.numpy() for level in maps], names)
        return Codes(tuple(maps))

    def _prior(self, level: int) -> Prior:
        """Give a level's prior in float64."""
        if level not in self._copies:
            self._copies[level] = _to_float64(self._priors[level])
        return self._copies[level]

    def _check_decoded(self, streams: Sequence[Bitstream], levels: Sequence[np.ndarray], names: Sequence[str]) -> None:
        """Compare the last of some levels with its check."""
        for image, stream in enumerate(streams):
            checks = self._checks.level_checks(stream.header, [level[image] for level in levels])
            if checks[-1] != stream.checks[len(levels) - 1]:
                level = f"level {len(levels)} of {stream.header.num_levels}"
                raise BitstreamError(
                    f"{names[image] + ': ' if names else ''}the codes of {level} do not match their checksum: "
                    "the file is damaged, or these are not the models that wrote it"
                )

    def _pack(self, codes: Codes) -> list[list[bytes]]:
        arrays = [level.flatten(1).cpu().numpy() for level in codes]
        return [
            [pack_codes(level[image], size) for level, size in zip(arrays, self._codebook_sizes, strict=False)]
            for image in range(codes.batch_size)
        ]

    def _unpack(self, payloads: Sequence[bytes], level: int, shape: tuple[int, int]) -> Tensor:
        size, count = self._codebook_sizes[level], shape[0] * shape[1]
        return torch.from_numpy(np.stack([unpack_codes(payload, count, size).reshape(shape) for payload in payloads]))

    def _check_labels(self, labels: Sequence[int | None], batch_size: int, mode: Mode) -> None:
        if len(labels) != batch_size:
            raise ConfigError(f"`labels` must be one for each of {batch_size} images, got {len(labels)}")
        if mode == "prior" and not self._priors:
            raise CheckpointError("this pipeline has no priors; train a prior for every level, or take `mode` raw")
        num_classes = self._priors[0].space.num_classes if mode == "prior" else 0
        for label in labels:
            if label is not None and not (isinstance(label, Integral) and 0 <= label < num_classes):
                wanted = f"in 0..{num_classes - 1} or None" if num_classes else "None, since no prior is told a class"
                raise ConfigError(f"`label` must be {wanted}, got {label}")

    def _check_codes(self, codes: Codes, size: tuple[int, int]) -> None:
        wanted = self._code_shapes(*size)
        if codes.shapes != wanted[: len(codes)]:
            raise ValueError(f"`codes` must be of shapes {wanted} for images of {size} pixels, got {codes.shapes}")
        for level, (maps, num_embeddings) in enumerate(zip(codes, self._codebook_sizes, strict=False)):
            if maps.numel() and not 0 <= int(maps.min()) <= int(maps.max()) < num_embeddings:
                raise ValueError(f"`codes[{level}]` must be in 0..{num_embeddings - 1}")


class _Counter:
    """Counts codes for a caller who wants to know."""

    def __init__(self, hooks: Hooks, total: int) -> None:
        self._hooks, self._total, self._done = hooks, total, 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._hooks.on_progress(self._done, self._total)

    def expect(self, count: int) -> None:
        """Have so many more to do."""
        self._total += count


def _class_numbers(prior: Prior, labels: Sequence[int | None]) -> Tensor | None:
    """Give classes as a prior wants them: int64 `(B,)`, or None for a prior without classes."""
    num_classes = prior.space.num_classes
    if not num_classes:
        return None
    device = next(prior.parameters()).device
    return torch.tensor([num_classes if label is None else label for label in labels], device=device)


def _to_float64(prior: Prior) -> Prior:
    """Copy a prior in float64, on its own device if that knows it."""
    copied = copy.deepcopy(prior).eval()
    if next(copied.parameters()).device.type == "mps":
        copied = copied.cpu()
    return copied.double()
