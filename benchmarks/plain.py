"""VQ-VAE-2 in plain PyTorch, as the public ports have it: the reference that this package is measured against.

NCHW, float32, one-hot assignment, Adam. The layers, and with two levels the wiring, are those of the usual ports;
more levels go on in the same way. Nothing of the package is used, so that nothing of it can be the same by mistake.

Shapes: B images, C channels, H x W pixels, h x w grid of a level, D embedding length, N = B h w vectors, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["OneHotQuantizer", "PlainVQVAE2", "library_quantizer"]

Quantize = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""Features `(B, h, w, D)` to vectors, codes and commitment loss."""


class OneHotQuantizer(nn.Module):
    """EMA codebook with an N x K one-hot matrix, and the ports' start: N = 0 and random vectors."""

    def __init__(self, num_embeddings: int, embedding_dim: int, decay: float = 0.99, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.num_embeddings, self.decay, self.epsilon = num_embeddings, decay, epsilon
        codebook = torch.randn(embedding_dim, num_embeddings)
        self.register_buffer("codebook", codebook)
        self.register_buffer("average_count", torch.zeros(num_embeddings))
        self.register_buffer("average_sum", codebook.clone())

    @torch.no_grad()
    def start_from(self, features: Tensor) -> None:
        """Start correctly instead: N = 1, and m = e from encoder outputs `(B, h, w, D)`."""
        vectors = features.reshape(-1, features.shape[-1])
        self.codebook.copy_(vectors[torch.randperm(len(vectors))[: self.num_embeddings]].t())
        self.average_sum.copy_(self.codebook)
        self.average_count.fill_(1.0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = features.reshape(-1, features.shape[-1])  # (N, D)
        distances = (
            flat.square().sum(1, keepdim=True) - 2 * flat @ self.codebook + self.codebook.square().sum(0, keepdim=True)
        )
        codes = distances.argmin(1)
        if self.training:
            with torch.no_grad():
                one_hot = functional.one_hot(codes, self.num_embeddings).to(flat.dtype)  # (N, K)
                self.average_count.mul_(self.decay).add_(one_hot.sum(0), alpha=1 - self.decay)
                self.average_sum.mul_(self.decay).add_(flat.t() @ one_hot, alpha=1 - self.decay)
                total = self.average_count.sum()
                smoothed = (self.average_count + self.epsilon) / (total + self.num_embeddings * self.epsilon) * total
                self.codebook.copy_(self.average_sum / smoothed)
        codes = codes.view(features.shape[:-1])
        vectors = functional.embedding(codes, self.codebook.t())
        loss = (vectors.detach() - features).square().mean()
        return features + (vectors - features).detach(), codes, loss


class _LibraryQuantizer(nn.Module):
    """`vector-quantize-pytorch`'s EMA quantizer in the same slot."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        from vector_quantize_pytorch import VectorQuantize

        self.quantizer = VectorQuantize(
            dim=embedding_dim, codebook_size=num_embeddings, decay=0.99, eps=1e-5, commitment_weight=1.0
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, codes, loss = self.quantizer(features.flatten(1, 2))
        return vectors.view(features.shape), codes.view(features.shape[:-1]), loss.sum()


def library_quantizer(num_embeddings: int, embedding_dim: int) -> nn.Module:
    """Make `vector-quantize-pytorch`'s EMA quantizer; raises ImportError without that package."""
    return _LibraryQuantizer(num_embeddings, embedding_dim)


class PlainVQVAE2(nn.Module):
    """The network.

    Args:
        strides: From the image upwards, each 2 or 4, or 8 for the first.
        hidden: Width; the ports have 128.
        residual: Width inside a residual block; the ports have 32, the paper 64.
        num_embeddings: K.
        embedding_dim: D.
        make_quantizer: Called with K and D for each level.
    """

    def __init__(
        self,
        strides: Sequence[int] = (4, 2),
        hidden: int = 128,
        residual: int = 32,
        num_embeddings: int = 512,
        embedding_dim: int = 64,
        in_channels: int = 3,
        make_quantizer: Callable[[int, int], nn.Module] = OneHotQuantizer,
    ) -> None:
        super().__init__()
        dim, levels = embedding_dim, len(strides)
        # In the order of `strides`: the bottom first.
        self.encoders = nn.ModuleList(
            _encoder(hidden if index else in_channels, hidden, residual, stride) for index, stride in enumerate(strides)
        )
        self.to_embedding = nn.ModuleList(
            nn.Conv2d(hidden if index == levels - 1 else hidden + dim, dim, 1) for index in range(levels)
        )
        self.quantizers = nn.ModuleList(make_quantizer(num_embeddings, dim) for _ in strides)
        # What decodes level i + 1 to the grid of level i.
        self.level_decoders = nn.ModuleList(
            _decoder(dim if index == levels - 2 else 2 * dim, dim, hidden, residual, strides[index + 1])
            for index in range(levels - 1)
        )
        self.upsamplers = nn.ModuleList(
            nn.Sequential(*_upsampling(dim, dim, dim, _product(strides[1 : index + 2]))) for index in range(levels - 1)
        )
        self.decoder = _decoder(levels * dim, in_channels, hidden, residual, strides[0])

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Give reconstructions, codes (bottom first) and the commitment loss."""
        vectors, codes, loss = self._quantize(images)
        upsampled = [module(vectors[index + 1]) for index, module in enumerate(self.upsamplers)]
        return self.decoder(torch.cat((*upsampled, vectors[0]), dim=1)), codes, loss

    def encode(self, images: Tensor) -> list[Tensor]:
        """Give codes, bottom first."""
        return self._quantize(images)[1]

    def _quantize(self, images: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        features = [images]
        for encoder in self.encoders:
            features.append(encoder(features[-1]))
        count = len(self.encoders)
        vectors: list[Tensor] = [images] * count
        codes: list[Tensor] = [images] * count
        context, loss = None, images.new_zeros(())
        for index in reversed(range(count)):
            joined = features[index + 1] if context is None else torch.cat((context, features[index + 1]), dim=1)
            quantized, codes[index], level_loss = self.quantizers[index](
                self.to_embedding[index](joined).permute(0, 2, 3, 1)
            )
            vectors[index] = quantized.permute(0, 3, 1, 2)
            loss = loss + level_loss
            if index:
                below = vectors[index] if context is None else torch.cat((vectors[index], context), dim=1)
                context = self.level_decoders[index - 1](below)
        return vectors, codes, loss

    @torch.no_grad()
    def start_from(self, images: Tensor) -> None:
        """Start each codebook correctly, the top first, from encoder outputs for images `(B, C, H, W)`."""
        self.eval()
        for index in reversed(range(len(self.encoders))):
            quantizer = self.quantizers[index]
            handle = quantizer.register_forward_pre_hook(lambda module, inputs: module.start_from(inputs[0]))
            self(images)
            handle.remove()
        self.train()


class _Residual(nn.Module):
    def __init__(self, channels: int, residual: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, residual, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(residual, channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


def _encoder(in_channels: int, hidden: int, residual: int, stride: int) -> nn.Module:
    layers: list[nn.Module] = []
    while stride > 2:
        layers += [nn.Conv2d(in_channels, hidden // 2, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
        in_channels, stride = hidden // 2, stride // 2
    layers += [nn.Conv2d(in_channels, hidden, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
    layers += [nn.Conv2d(hidden, hidden, 3, padding=1), _Residual(hidden, residual), _Residual(hidden, residual)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def _decoder(in_channels: int, out_channels: int, hidden: int, residual: int, stride: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(in_channels, hidden, 3, padding=1)]
    layers += [_Residual(hidden, residual), _Residual(hidden, residual), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *_upsampling(hidden, hidden // 2, out_channels, stride))


def _upsampling(in_channels: int, hidden: int, out_channels: int, stride: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    while stride > 2:
        layers += [nn.ConvTranspose2d(in_channels, hidden, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
        in_channels, stride = hidden, stride // 2
    return [*layers, nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)]


def _product(factors: Sequence[int]) -> int:
    product = 1
    for factor in factors:
        product *= factor
    return product
