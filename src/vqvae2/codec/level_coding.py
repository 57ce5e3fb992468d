"""One level's codes to bytes and back, with a prior's probabilities: the walk, with a coder in its `choose`.

The encoder takes the same steps as the decoder will, and not the one parallel pass that it could: so both see logits
that differ by no more than two machines do.

Shapes: B images, h x w code grid, n codes, K codes in the codebook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vqvae2.codec.probabilities import PRECISION_BITS, integer_counts, round_logits, rounding_margins
from vqvae2.codec.range_coder import RangeDecoder, RangeEncoder
from vqvae2.errors import BitstreamError
from vqvae2.models.prior import Prior
from vqvae2.sampling.walk import walk

__all__ = ["EncodedLevel", "decode_level", "encode_level"]

_MOST_LOGITS = 1 << 20  # that are kept before they are coded: 8 MiB

OnStep = Callable[[int], None]
"""Is told how many codes, of all images together, were just walked."""


@dataclass(frozen=True)
class EncodedLevel:
    """The codes of one level of B images."""

    payloads: tuple[bytes, ...]
    """An image."""
    bits: np.ndarray
    """What the codes cost by the rounded probabilities, an image, float64 `(B,)`."""
    margin_steps: np.ndarray
    """How near a logit came to where its rounding changes, an image, in steps, float64 `(B,)`."""


def encode_level(
    prior: Prior,
    codes: Tensor,
    *,
    above: Sequence[Tensor],
    labels: Tensor | None,
    offsets: np.ndarray,
    on_step: OnStep | None = None,
) -> EncodedLevel:
    """Encode one level of B images.

    Args:
        prior: In float64 and evaluation mode.
        codes: int64 `(B, h, w)` on the prior's device.
        above: The codes of each level above, top first.
        labels: Classes `(B,)`; see `Prior.forward`.
        offsets: Where each image's grid lies, int64 `(B,)`, see `round_logits`.
        on_step: Is told of progress.
    """
    batch_size, height, width = codes.shape
    encoder = _Encoder(codes.flatten(1), prior.num_embeddings, offsets, on_step)
    walk(prior, encoder.choose, batch_size=batch_size, size=(height, width), above=above, labels=labels)
    return encoder.finish()


def decode_level(
    prior: Prior,
    payloads: Sequence[bytes],
    *,
    size: tuple[int, int],
    above: Sequence[Tensor],
    labels: Tensor | None,
    offsets: np.ndarray,
    on_step: OnStep | None = None,
) -> Tensor:
    """Decode one level of B images, int64 `(B, h, w)` on the prior's device; arguments as for `encode_level`.

    Bytes that no encoder wrote give some codes or other: it takes the check of the codes to tell.

    Raises:
        BitstreamError: If it is plain of all images that no encoder wrote them.
    """
    decoder = _Decoder(payloads, offsets, on_step)
    return walk(prior, decoder.choose, batch_size=len(payloads), size=size, above=above, labels=labels)


class _Encoder:
    """Keeps the logits of some positions, then codes them together: a device is waited for once for many steps."""

    def __init__(self, codes: Tensor, num_embeddings: int, offsets: np.ndarray, on_step: OnStep | None) -> None:
        batch_size, self._num_positions = codes.shape
        self._codes, self._symbols = codes, codes.cpu().numpy()
        self._offsets = offsets[:, None, None]
        self._on_step = on_step
        self._coders = [RangeEncoder() for _ in range(batch_size)]
        self._bits = np.zeros(batch_size)
        self._margins = np.full(batch_size, 0.5)
        kept = min(self._num_positions, max(1, _MOST_LOGITS // (batch_size * num_embeddings)))
        self._kept = torch.empty(batch_size, kept, num_embeddings, dtype=torch.float64, device=codes.device)
        self._first = 0  # position of the first kept logits

    def choose(self, position: int, logits: Tensor) -> Tensor:
        place = position - self._first
        self._kept[:, place] = logits
        if place + 1 == self._kept.shape[1] or position + 1 == self._num_positions:
            self._encode(self._kept[:, : place + 1].cpu().numpy())
            self._first = position + 1
        return self._codes[:, position]

    def finish(self) -> EncodedLevel:
        return EncodedLevel(tuple(coder.finish() for coder in self._coders), self._bits, self._margins)

    def _encode(self, logits: np.ndarray) -> None:
        """Code logits `(B, n, K)` of consecutive positions."""
        batch_size, count, _ = logits.shape
        symbols = self._symbols[:, self._first : self._first + count]
        counts = integer_counts(round_logits(logits, self._offsets))
        for coder, image_symbols, image_counts in zip(self._coders, symbols, counts, strict=True):
            coder.encode(image_symbols, image_counts)
        chosen = np.take_along_axis(counts, symbols[:, :, None], axis=2)
        self._bits += (PRECISION_BITS - np.log2(chosen)).sum(axis=(1, 2))
        margins = rounding_margins(logits, self._offsets)
        self._margins = np.minimum(self._margins, margins.min(axis=1))
        if self._on_step is not None:
            self._on_step(batch_size * count)


class _Decoder:
    def __init__(self, payloads: Sequence[bytes], offsets: np.ndarray, on_step: OnStep | None) -> None:
        self._coders: list[RangeDecoder | None] = [RangeDecoder(payload) for payload in payloads]
        self._offsets = offsets[:, None]
        self._on_step = on_step

    def choose(self, position: int, logits: Tensor) -> Tensor:
        counts = integer_counts(round_logits(logits.cpu().numpy(), self._offsets))
        codes = np.zeros(len(self._coders), dtype=np.int64)
        for image, coder in enumerate(self._coders):
            if coder is not None:
                try:
                    codes[image] = coder.decode(counts[image])
                except BitstreamError:
                    self._coders[image] = None  # the others go on; this one's check will fail
                    if not any(self._coders):
                        raise
        if self._on_step is not None:
            self._on_step(len(codes))
        return torch.from_numpy(codes).to(logits.device)
