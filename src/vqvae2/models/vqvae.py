"""The hierarchical tokenizer (Razavi et al. 2019, sec. 3.1).

Shapes: B images, C channels, H x W pixels, h x w code grid of a level, D embedding length. Level 0 is the top.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.codes import Codes
from vqvae2.config import VQVAE2Config
from vqvae2.images import crop_to, pad_to_multiple, require_channels
from vqvae2.models.decoder import Decoder, build_decoder, decode_vectors
from vqvae2.nn.quantizers import Quantized, Quantizer, build_quantizer
from vqvae2.nn.residual import Downsample, ResidualStack, Upsample

__all__ = ["VQVAE2", "VQVAE2Output", "check_codes"]


class VQVAE2Output(NamedTuple):
    """The result of a forward pass. Losses are scalars, means over images and positions."""

    reconstruction: Tensor
    """`(B, C, H, W)`, about [-1, 1]."""
    codes: Codes
    """The codes of the batch; `CodebookUsage` counts them over an epoch for usage and perplexity."""
    reconstruction_loss: Tensor
    """Mean squared error of the pixels, in the range [-1, 1]."""
    quantizer_loss: Tensor
    """The weighted losses of the quantizers, summed over levels."""
    preview_loss: Tensor
    """Mean squared error of the predicted embeddings of each lower level, summed over levels."""


class VQVAE2(nn.Module):
    """Turn images into a hierarchy of discrete codes and back.

    Two levels, as in the paper for 256x256 pixels (any number works the same way)::

        image ─ encoder ─┬─ encoder ── 1x1 ── quantize ═ top codes
                         │                        ├── upsampled ──────────────┐
                         │                 level decoder                      │
                         └── concatenate ─────────┴─ 1x1 ── quantize ═ bottom codes
                                                                 └── concatenate ── decoder ─ image

    The top is quantized first. Every lower level sees the pixels and the decoded levels above. The decoder sees all
    levels. A branch for details may stand beside it, see `Decoder`.

    To decode without the lower levels, a small predictor per lower level estimates its embeddings from the decoded
    levels above; the paper leaves this open. With `preview_weight` above 0, our default and a departure from the paper,
    the gradient of this loss also reaches the levels above. They then carry what is predictable of the levels below;
    otherwise, a tokenizer trained for minutes leaves nearly everything to the bottom. With 0, only the predictors learn
    from the loss.
    """

    def __init__(self, config: VQVAE2Config) -> None:
        super().__init__()
        self.config = config
        hidden, dim = config.hidden_channels, config.quantizer.embedding_dim

        def stack() -> ResidualStack:
            return ResidualStack(hidden, config.residual_channels, config.residual_layers)

        # All lists are in the order of levels, top first, while `strides` runs from the image upwards.
        top = config.num_levels - 1
        self.encoders = nn.ModuleList(
            nn.Sequential(Downsample(hidden if index else config.in_channels, hidden, stride), stack())
            for index, stride in reversed(list(enumerate(config.strides)))
        )
        self.to_embedding = nn.ModuleList(
            nn.Conv2d(2 * hidden if level else hidden, dim, 1) for level in range(config.num_levels)
        )
        self.quantizers = nn.ModuleList(build_quantizer(config.quantizer) for _ in range(config.num_levels))
        self.level_decoders = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(dim + hidden if level else dim, hidden, 3, padding=1),
                stack(),
                Upsample(hidden, hidden, hidden, config.strides[top - level]),
            )
            for level in range(top)
        )
        self.predictors = nn.ModuleList(
            nn.Sequential(nn.Conv2d(hidden, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, dim, 1))
            for _ in range(top)
        )
        self.to_bottom, self.decoder, self.details = build_decoder(config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> VQVAE2Output:
        """Reconstruct images `(B, C, H, W)` in [-1, 1] and compute the terms of the training loss."""
        quantized: list[Quantized] = []

        def quantize(quantizer: Quantizer, embedding: Tensor) -> Tensor:
            quantized.append(quantizer(embedding))
            return quantized[-1].vectors

        contexts = self._quantize_levels(images, quantize)
        vectors = [level.vectors for level in quantized]
        reconstruction = crop_to(decode_vectors(self, vectors), *images.shape[-2:])
        preview_loss = images.new_zeros(())
        for predictor, context, level in zip(self.predictors, contexts, quantized[1:], strict=True):
            expected = predictor(context if self.config.preview_weight else context.detach()).float()
            preview_loss = preview_loss + functional.mse_loss(expected, level.vectors.detach())
        return VQVAE2Output(
            reconstruction=reconstruction,
            codes=Codes(tuple(level.codes for level in quantized)),
            reconstruction_loss=functional.mse_loss(reconstruction.float(), images),
            quantizer_loss=torch.stack([level.loss for level in quantized]).sum(),
            preview_loss=preview_loss,
        )

    def encode(self, images: Tensor) -> Codes:
        """Encode images `(B, C, H, W)` in [-1, 1]; sides are edge-padded to a multiple of `config.stride`.

        Autocast is off: in bfloat16, some codes in a hundred become a near neighbour. Images do not show this, but
        priors and files do.
        """
        maps: list[Tensor] = []

        def quantize(quantizer: Quantizer, embedding: Tensor) -> Tensor:
            maps.append(quantizer.encode(embedding))
            return quantizer.embed(maps[-1])

        with torch.autocast(images.device.type, enabled=False):
            self._quantize_levels(images, quantize)
        return Codes(tuple(maps))

    def decode(self, codes: Codes, *, levels: int | None = None, decoder: Decoder | None = None) -> Tensor:
        """Decode codes into images `(B, C, H, W)`, about [-1, 1]; H and W are those of the padded images.

        A second `decoder` takes the place of the tokenizer's own. All else is said at `embed`.

        Raises:
            ValueError: If `decoder` is of a tokenizer of another config; see also `embed`.
        """
        if decoder is not None and decoder.config.tokenizer_config != self.config:
            raise ValueError("`decoder` must be one that was trained for this tokenizer, got one of another config")
        vectors = self.embed(codes, levels=levels)
        return decode_vectors(self, vectors) if decoder is None else decoder(vectors)

    def embed(self, codes: Codes, *, levels: int | None = None) -> list[Tensor]:
        """Look up the vectors `(B, D, h, w)` of codes, top first, and predict those of levels that are missing.

        Args:
            codes: All levels, or the first few.
            levels: How many levels to use, top first; the other ones are predicted. None uses all levels of `codes`.

        Raises:
            ValueError: If `levels` is not in 1..number of levels in `codes`, or `codes` holds too many.
        """
        if len(codes) > self.config.num_levels:
            raise ValueError(f"`codes` must hold at most {self.config.num_levels} levels, got {len(codes)}")
        if levels is not None and not 1 <= levels <= len(codes):
            raise ValueError(f"`levels` must be in 1..{len(codes)} (the levels in `codes`), got {levels}")
        known = len(codes) if levels is None else levels
        vectors = [
            quantizer.embed(maps) for quantizer, maps in zip(self._quantizer_list(), codes.maps[:known], strict=False)
        ]
        context: Tensor | None = None
        for level in range(self.config.num_levels - 1 if known < self.config.num_levels else 0):
            context = self._context(level, vectors[level], context)
            if level + 1 >= known:
                vectors.append(self.predictors[level](context).float())
        return vectors

    @property
    def codebooks(self) -> list[Tensor]:
        """The vectors `(K, D)` of each level's codes, top first."""
        device = next(self.parameters()).device
        codes = [torch.arange(size, device=device)[:, None, None] for size in self.config.codebook_sizes]
        quantizers = self._quantizer_list()
        return [quantizer.embed(each).flatten(1).detach() for quantizer, each in zip(quantizers, codes, strict=True)]

    @torch.no_grad()
    def initialize_codebooks(self, images: Tensor) -> None:
        """Start every codebook, top level first, from encoder outputs for images `(B, C, H, W)`."""

        def initialize(quantizer: Quantizer, embedding: Tensor) -> Tensor:
            quantizer.initialize(embedding)
            return embedding

        self._quantize_levels(images, initialize)

    def update_codebooks(self) -> None:
        """Apply the statistics of the forward passes since the last call; call once per optimizer step."""
        for quantizer in self._quantizer_list():
            quantizer.update()

    def _quantizer_list(self) -> list[Quantizer]:
        return list(self.quantizers)  # type: ignore[arg-type]  # a ModuleList forgets the type of its modules

    def _quantize_levels(self, images: Tensor, quantize: Callable[[Quantizer, Tensor], Tensor]) -> list[Tensor]:
        """Turn the embedding `(B, D, h, w)` of every level, top first, into vectors, by a function.

        Return the context of each lower level: the levels above, decoded to its grid, `(B, hidden, h, w)`.
        """
        require_channels(images, self.config.in_channels)
        # Encode, from the image upwards.
        features = [pad_to_multiple(images, self.config.stride).contiguous(memory_format=torch.channels_last)]
        for encoder in reversed(self.encoders):
            features.append(encoder(features[-1]))
        # Quantize, from the top downwards.
        context: Tensor | None = None
        contexts: list[Tensor] = []
        for level, quantizer in enumerate(self._quantizer_list()):
            vectors = quantize(quantizer, self.to_embedding[level](_join(features[-1 - level], context)))
            context = self._context(level, vectors, context)
            if context is not None:
                contexts.append(context)
        return contexts

    def _context(self, level: int, vectors: Tensor, context: Tensor | None) -> Tensor | None:
        """Decode levels 0..level to the grid of the next one: `(B, hidden, h, w)`; None after the bottom."""
        if level == self.config.num_levels - 1:
            return None
        decoded: Tensor = self.level_decoders[level](_join(vectors, context))
        return decoded


def _join(features: Tensor, context: Tensor | None) -> Tensor:
    return features if context is None else torch.cat((features, context), dim=1)


def check_codes(codes: Codes, config: VQVAE2Config) -> None:
    """Refuse codes that are not of a tokenizer of this config, or not of its upper levels.

    Raises:
        ValueError: If there are too many levels, the grids of two levels do not fit, or a code is beyond its codebook.
    """
    if len(codes) > config.num_levels:
        raise ValueError(f"`codes` must hold at most {config.num_levels} levels, got {len(codes)}")
    height, width = codes.shapes[0]
    wanted = config.code_shapes(height * config.stride, width * config.stride)[: len(codes)]
    if codes.shapes != wanted:
        raise ValueError(f"`codes` must be of shapes {wanted} below a top of {height} x {width}, got {codes.shapes}")
    for level, (maps, num_embeddings) in enumerate(zip(codes, config.codebook_sizes, strict=False)):
        if maps.numel() and not 0 <= int(maps.min()) <= int(maps.max()) < num_embeddings:
            low, high = int(maps.min()), int(maps.max())
            raise ValueError(f"`codes[{level}]` must be in 0..{num_embeddings - 1}, got {low}..{high}")
