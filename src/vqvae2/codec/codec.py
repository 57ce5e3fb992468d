"""Images as files and back.

Shapes: B images, C H W pixels, h x w code grid of a level.
"""

from __future__ import annotations

import io
from collections.abc import Hashable, Iterable, Sequence
from typing import BinaryIO, TypeVar

import torch
from torch import Tensor

from vqvae2.codec.bitstream import MAX_CODED_PIXELS, Bitstream, Header, Mode, padded_pixels, read_bitstream
from vqvae2.codec.hierarchy_coder import HierarchyCoder
from vqvae2.codes import Codes
from vqvae2.errors import BitstreamError, ConfigError
from vqvae2.images import check_images, crop_to
from vqvae2.models.decoder import Decoder
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2, check_codes
from vqvae2.sampling.hooks import Hooks

__all__ = ["Codec", "Key", "Source"]

_Key = TypeVar("_Key", bound=Hashable)

Key = tuple[tuple[tuple[int, int], ...], bool]
"""What files must share to be decoded together: the grid `(h, w)` of each level, and whether priors coded them."""

Source = bytes | bytearray | memoryview | BinaryIO | Bitstream
"""The bytes of a file, a binary file object, or what `Codec.read` made of either."""


class Codec:
    """Compresses images into files with a tokenizer, and decompresses them.

    ::

        images ◄─ tokenizer ─► codes ◄─ walk of each prior, range coder ─► payloads ◄─ header, checks ─► file

    What the tokenizer makes of an image is kept bit for bit: a file decodes to the very codes that it was made of, on
    other machines too (`docs/bitstream.md` says what is promised). Only the tokenizer loses anything.

    Args:
        tokenizer: In evaluation mode.
        priors: One per level, top first, in evaluation mode; without them, files are raw. The codec makes copies in
            float64.
        bit_depth: Of the images, 8 or 16.
        decoder: A second decoder, in the place of the tokenizer's own.
        max_pixels: Larger images, as padded to whole codes, are refused, both ways. This bounds memory and time,
            whatever a file claims.

    Raises:
        ConfigError: If the tokenizer has more than 16 levels or channels.
        ValueError: If it is in training mode.
    """

    def __init__(
        self,
        tokenizer: VQVAE2,
        priors: Sequence[Prior] = (),
        *,
        bit_depth: int = 8,
        decoder: Decoder | None = None,
        max_pixels: int = MAX_CODED_PIXELS,
    ) -> None:
        if tokenizer.training:
            raise ValueError("`tokenizer` must be in evaluation mode, got one in training mode; call tokenizer.eval()")
        self._tokenizer, self._config, self._decoder = tokenizer, tokenizer.config, decoder
        self._max_pixels = max_pixels
        self._coder = HierarchyCoder(tokenizer, priors, bit_depth=bit_depth)

    @torch.no_grad()
    def compress_batch(
        self,
        images: Sequence[Tensor],
        *,
        mode: Mode | None = None,
        labels: Sequence[int | None] | None = None,
        max_levels: int | None = None,
        verify: bool = True,
        hooks: Hooks = Hooks(),
    ) -> list[bytes]:
        """Compress images. Those of one size walk together, which takes little longer than one of them alone.

        Args:
            images: Each `(C, H, W)` in [-1, 1], of any size.
            mode: "prior" codes with the priors' probabilities; "raw" writes each code with as many bits as the
                codebook needs, and reading it needs no priors. None takes the priors if there are any.
            labels: The class of each image, which the priors are told and the file keeps; None for no class. It changes
                the size of the file alone.
            max_levels: Write only the upper levels: 1 is a preview.
            verify: Whether to decode every file again and compare, which takes as much time again.
            hooks: Receive progress, in codes of the images of one size; verifying counts.

        Returns:
            The bytes of one file per image.

        Raises:
            BitstreamError: If verifying fails, since this machine does not give the same result twice, or an image
                cannot be coded so that all machines decode it, which takes very large codebooks and images.
            CheckpointError: If `mode` is "prior" and there are no priors.
            ConfigError: If `mode`, a label or `max_levels` does not fit, or an image has more than `max_pixels`.
            ValueError: If an image is of another shape or type, or not in [-1, 1].
        """
        labels = _one_each(labels, len(images))
        num_levels = self._config.num_levels
        if max_levels is not None and not 1 <= max_levels <= num_levels:
            raise ConfigError(f"`max_levels` must be in 1..{num_levels}, got {max_levels}")
        for index, image in enumerate(images):
            check_images(image, f"images[{index}]", channels=self._config.in_channels, rank=3)
            self.check_size((image.shape[1], image.shape[2]))
        device = next(self._tokenizer.parameters()).device
        files: dict[int, bytes] = {}
        for size, members in _groups((image.shape[1], image.shape[2]) for image in images).items():
            batch = torch.stack([images[member].to(device, torch.float32) for member in members])
            codes = Codes(self._tokenizer.encode(batch).maps[:max_levels])
            own_labels = [labels[member] for member in members]
            encoded = self._coder.encode(codes, size=size, mode=mode, labels=own_labels, verify=verify, hooks=hooks)
            files.update(zip(members, encoded, strict=True))
        return [files[index] for index in range(len(images))]

    def compress_codes(
        self,
        codes: Codes,
        *,
        size: tuple[int, int],
        mode: Mode | None = None,
        labels: Sequence[int | None] | None = None,
        verify: bool = True,
        hooks: Hooks = Hooks(),
    ) -> list[bytes]:
        """Compress the codes of B images of one size, as they are; see `compress_batch` for all that is not said here.

        Args:
            codes: Of all levels, or of the upper ones for previews.
            size: Height and width in pixels of the images.
        """
        self.check_size(size)
        labels = _one_each(labels, codes.batch_size)
        wanted = self._config.code_shapes(*size)
        if codes.shapes != wanted[: len(codes)]:
            raise ValueError(f"`codes` must be of shapes {wanted} for images of {size} pixels, got {codes.shapes}")
        check_codes(codes, self._config)
        return self._coder.encode(codes, size=size, mode=mode, labels=labels, verify=verify, hooks=hooks)

    @torch.no_grad()
    def decompress_batch(
        self,
        sources: Sequence[Source],
        *,
        max_levels: int | None = None,
        allow_cut: bool = False,
        hooks: Hooks = Hooks(),
    ) -> list[Tensor]:
        """Decompress images. Those of one size walk together.

        Args:
            sources: Each a file's bytes, or a binary file object that holds nothing else, see `read`.
            max_levels: Decode only the upper levels, for a preview; None for all.
            allow_cut: Accept a file that ends too early, and decode its complete levels, at least the top.
            hooks: Receive progress, in codes of the images of one size.

        Returns:
            Each `(C, H, W)`, about [-1, 1], on the tokenizer's device.

        Raises:
            BitstreamError: If a file is no such file, damaged or cut, of another version, of other models, or has more
                than `max_pixels`.
            ConfigError: If `max_levels` is below 1.
        """
        streams = self._read_all(sources, max_levels, allow_cut)
        device = next(self._tokenizer.parameters()).device
        images: dict[int, Tensor] = {}
        for members in _groups(self.key(stream) for stream in streams).values():
            names = [_name(member, sources) for member in members]
            codes = self._coder.decode([streams[member] for member in members], names=names, hooks=hooks)
            with torch.autocast(device.type, enabled=False):  # an image of bfloat16 would show steps
                decoded = self._tokenizer.decode(codes.to(device), decoder=self._decoder)
            for member, image in zip(members, decoded, strict=True):
                images[member] = crop_to(image, *streams[member].header.size).clone()  # without the rest of the batch
        return [images[index] for index in range(len(sources))]

    def decompress_codes(
        self,
        sources: Sequence[Source],
        *,
        max_levels: int | None = None,
        allow_cut: bool = False,
        hooks: Hooks = Hooks(),
    ) -> Codes:
        """Give the codes of files of one size, on the CPU; see `decompress_batch`.

        Raises:
            BitstreamError: See `decompress_batch`.
            ConfigError: If `max_levels` is below 1.
            ValueError: If there are no files, or they are not of one size, mode and number of levels.
        """
        streams = self._read_all(sources, max_levels, allow_cut)
        if len({self.key(stream) for stream in streams}) != 1:
            raise ValueError("`sources` must be one file or more of one size, mode and number of levels")
        return self._coder.decode(streams, names=[_name(index, sources) for index in range(len(sources))], hooks=hooks)

    def read(self, source: Source, *, max_levels: int | None = None, allow_cut: bool = False) -> Bitstream:
        """Read a file, and check all that can be checked without decoding it.

        A file object is read to its end, which must be that of the image; with `max_levels`, no further than the last
        level that is wanted. For arguments and errors see `decompress_batch`.
        """
        if isinstance(source, Bitstream):
            if max_levels is not None and max_levels < 1:
                raise ConfigError(f"`max_levels` must be at least 1, got {max_levels}")
            self._check_header(source.header)
            return Bitstream(source.header, source.payloads[:max_levels], source.checks[:max_levels])
        if isinstance(source, (bytes, bytearray, memoryview)):
            source = io.BytesIO(source)
        elif not hasattr(source, "read"):
            raise ValueError(
                f"`source` must be the bytes of a file or a binary file object, got {type(source).__name__}; "
                "open it for reading in binary mode"
            )
        return read_bitstream(
            source,
            max_levels=max_levels,
            allow_cut=allow_cut,
            max_pixels=self._max_pixels,
            check_header=self._check_header,
        )

    def key(self, stream: Bitstream) -> Key:
        """Give what this file must share with those that are decoded in the same walk."""
        return self._config.code_shapes(*stream.header.size)[: len(stream.payloads)], bool(stream.header.priors)

    def _check_header(self, header: Header) -> None:
        self._coder.check(header)
        if padded_pixels(header.size, self._config.stride) > self._max_pixels:
            raise BitstreamError(
                f"the file claims an image {header.size[0]} pixels high and {header.size[1]} wide, padded more than "
                f"`max_pixels` ({self._max_pixels}); it is damaged, or `max_pixels` must be larger"
            )

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuse an image by its height and width, before it is decoded.

        Raises:
            ConfigError: If it has more than `max_pixels`, as padded to whole codes.
        """
        if padded_pixels(size, self._config.stride) > self._max_pixels:
            raise ConfigError(
                f"an image {size[0]} pixels high and {size[1]} wide, padded to whole codes, has more than `max_pixels` "
                f"({self._max_pixels}); give a larger one, also to read it, or a smaller image"
            )

    def _read_all(self, sources: Sequence[Source], max_levels: int | None, allow_cut: bool) -> list[Bitstream]:
        streams: list[Bitstream] = []
        for index, source in enumerate(sources):
            try:
                streams.append(self.read(source, max_levels=max_levels, allow_cut=allow_cut))
            except BitstreamError as error:
                raise BitstreamError(f"{_name(index, sources)}{error}") from error
        return streams


def _name(index: int, sources: Sequence[Source]) -> str:
    """Say where an error begins which file it is of, if there are several."""
    return f"`sources[{index}]`: " if len(sources) > 1 else ""


def _one_each(labels: Sequence[int | None] | None, num_images: int) -> Sequence[int | None]:
    labels = [None] * num_images if labels is None else labels
    if len(labels) != num_images:
        raise ConfigError(f"`labels` must be one for each of {num_images} images, got {len(labels)}")
    return labels


def _groups(keys: Iterable[_Key]) -> dict[_Key, list[int]]:
    """Give the places of each key, in the order in which keys first appear."""
    groups: dict[_Key, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    return groups
