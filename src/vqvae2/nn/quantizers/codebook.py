"""Quantizers that look up the nearest vector of a codebook, which follows moving averages or learns by gradient.

Shapes: B images, D embedding length, h x w grid, N = B h w vectors, K codes.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.config import CodebookLossConfig, EMAConfig
from vqvae2.nn.quantizers.base import Quantized, Quantizer, rotate, straight_through
from vqvae2.system.processes import num_processes, process_index, sum_over_processes

__all__ = ["CodebookLossQuantizer", "CodebookQuantizer", "EMAQuantizer", "spread_positions"]

# Scores of vectors against codes to hold at a time. On a CPU, 2 MiB stay in the cache of a core.
_SCORES_ON_CPU, _SCORES_ELSEWHERE = 2**19, 2**25
_EPSILON = 1e-5  # of the Laplace smoothing
_COUNT_DECAY = 0.99  # of a codebook that learns by gradient; the paper's EMA codebook has the same


class CodebookQuantizer(Quantizer):
    """What quantizers with a codebook share: search, gradients, usage, and revival of unused codes.

    A code whose average count falls below `revival_threshold` of uniform use restarts from an encoder output of the
    last batch (random restarts: Dhariwal et al. 2020, Jukebox). Which output depends on the number of updates alone, so
    all processes choose the same one, which a single process would also choose from the joined batch.

    `decay` is that of the average counts, per optimizer step.
    """

    codebook: Tensor
    """`(K, D)`."""
    average_count: Tensor
    num_updates: Tensor
    step_count: Tensor
    candidates: Tensor

    def __init__(self, config: EMAConfig | CodebookLossConfig, *, decay: float) -> None:
        super().__init__()
        self.num_embeddings = config.num_embeddings
        self.embedding_dim = config.embedding_dim
        self.commitment_cost = config.commitment_cost
        self.decay = decay
        self.revival_threshold = config.revival_threshold
        self._pass_gradient = rotate if config.gradient == "rotation" else straight_through
        self.register_buffer("average_count", torch.ones(self.num_embeddings))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))
        # Statistics of the current step. They are never saved, since checkpoints are taken between steps.
        self.register_buffer("step_count", torch.zeros(self.num_embeddings), persistent=False)
        self.register_buffer("candidates", torch.zeros(self.num_embeddings, self.embedding_dim), persistent=False)

    def forward(self, features: Tensor) -> Quantized:
        with torch.autocast(features.device.type, enabled=False):
            grid = features.to(self.codebook.dtype).permute(0, 2, 3, 1)  # (B, h, w, D)
            flat = grid.reshape(-1, grid.shape[-1])  # (N, D)
            codes = self.nearest(flat)
            vectors = functional.embedding(codes, self.codebook)
            loss = self._loss(flat, vectors)
            if self.training:
                self._collect(flat.detach(), codes)
            passed = self._pass_gradient(flat, vectors.detach()).view(grid.shape)
            return Quantized(passed.permute(0, 3, 1, 2), codes.view(grid.shape[:3]), loss)

    def encode(self, features: Tensor) -> Tensor:
        grid = features.to(self.codebook.dtype).permute(0, 2, 3, 1)  # (B, h, w, D)
        return self.nearest(grid.reshape(-1, grid.shape[-1])).view(grid.shape[:3])

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """Find the nearest code of each vector `(N, D)`: int64 `(N,)`. The lowest index wins a tie."""
        # argmin |v - e|^2 = argmax v.e - |e|^2 / 2: one matrix product instead of N x K x D differences.
        half_norms = self.codebook.square().sum(dim=1).mul_(0.5)
        at_once = _SCORES_ON_CPU if vectors.device.type == "cpu" else _SCORES_ELSEWHERE
        # An exported graph takes all at once: the number of parts would depend on that of the images.
        is_exporting = torch.compiler.is_exporting()
        parts = (vectors,) if is_exporting else vectors.split(max(1, at_once // self.num_embeddings))
        scores = (torch.addmm(half_norms, part, self.codebook.t(), beta=-1.0) for part in parts)
        # `argmax` takes more than twice as long on a CPU.
        return torch.cat([score.max(dim=1).indices for score in scores])

    def embed(self, codes: Tensor) -> Tensor:
        return functional.embedding(codes, self.codebook).permute(0, 3, 1, 2)

    @torch.no_grad()
    def initialize(self, features: Tensor) -> None:
        """Start from encoder outputs `(B, D, h, w)`, spread evenly over them.

        Random vectors with a count of 0 would lose every code that the first batch misses.
        """
        vectors = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        positions = spread_positions(self.num_embeddings, len(vectors), device=vectors.device)
        self._restart(torch.ones_like(self.average_count, dtype=torch.bool), vectors[positions], count=1.0)

    @torch.no_grad()
    def update(self) -> None:
        # Sum the statistics of the step over all processes.
        sum_over_processes(*self._statistics())
        # Move the averages, and the codebook after them.
        self.average_count.lerp_(self.step_count, 1.0 - self.decay)
        self._move_codebook()
        # Restart codes that are hardly used.
        if self.revival_threshold > 0.0:
            uniform_count = self.average_count.mean()
            dead = self.average_count < self.revival_threshold * uniform_count
            self._restart(dead, self.candidates, count=uniform_count)
        # Begin the statistics of the next step.
        self.step_count.zero_()
        self.num_updates += 1

    def _statistics(self) -> list[Tensor]:
        """Return what this process has collected in the current step."""
        return [self.step_count, *([self.candidates] if self.revival_threshold > 0.0 else [])]

    def _random_codebook(self) -> Tensor:
        """Draw vectors `(K, D)` of a length near 1."""
        return torch.randn(self.num_embeddings, self.embedding_dim) / self.embedding_dim**0.5

    @abstractmethod
    def _loss(self, features: Tensor, vectors: Tensor) -> Tensor:
        """Compute the weighted loss of features `(N, D)` and their codebook vectors `(N, D)`."""

    def _move_codebook(self) -> None:
        """Move a codebook that does not learn by gradient, by the statistics of the step."""

    def _collect(self, features: Tensor, codes: Tensor) -> None:
        """Add features `(N, D)` and their codes `(N,)` to the statistics of the step."""
        # On a GPU, `bincount` would wait for the device, to learn the size of its result.
        self.step_count.index_add_(0, codes, self.step_count.new_ones(()).expand(codes.shape))
        if self.revival_threshold == 0.0:
            return
        # Keep one feature per code, in case it restarts: zeros where the feature lies in another process.
        own = len(features)
        positions = spread_positions(
            self.num_embeddings, own * num_processes(), start=self.num_updates, device=features.device
        )
        positions -= own * process_index()
        is_own = (positions >= 0) & (positions < own)
        self.candidates.copy_(torch.where(is_own[:, None], features[positions.clamp(0, own - 1)], 0.0))

    def _restart(self, chosen: Tensor, vectors: Tensor, *, count: Tensor | float) -> None:
        """Move the chosen codes, bool `(K,)`, to vectors `(K, D)`, with a count of `count`, in all buffers."""
        self.codebook.copy_(torch.where(chosen[:, None], vectors, self.codebook))
        self.average_count.copy_(torch.where(chosen, count, self.average_count))


class EMAQuantizer(CodebookQuantizer):
    """Nearest-neighbour quantizer whose codebook is an exponential moving average of the encoder's outputs.

    In training, `forward` only collects counts and sums, and `update` applies them once per optimizer step. So
    accumulated gradients and accumulated statistics belong to the same step. No step waits for the device.

    With the counts `n` and sums `s` of a step, and decay `g` (Razavi et al. 2019, sec. 2.1, after van den Oord et al.
    2017, appendix A.1; Laplace smoothing as in DeepMind's Sonnet)::

        N <- g N + (1 - g) n        m <- g m + (1 - g) s        codebook = m / smoothed(N)

    A code starts and restarts in all three buffers: with N = 1 from the initial outputs, and with the N of an average
    code when it is revived.
    """

    average_sum: Tensor
    step_sum: Tensor

    def __init__(self, config: EMAConfig) -> None:
        super().__init__(config, decay=config.decay)
        codebook = self._random_codebook()
        self.register_buffer("codebook", codebook)
        self.register_buffer("average_sum", codebook.clone())
        self.register_buffer("step_sum", torch.zeros_like(codebook), persistent=False)

    def _loss(self, features: Tensor, vectors: Tensor) -> Tensor:
        return self.commitment_cost * functional.mse_loss(features, vectors)

    def _collect(self, features: Tensor, codes: Tensor) -> None:
        super()._collect(features, codes)
        self.step_sum.index_add_(0, codes, features)

    def _statistics(self) -> list[Tensor]:
        return [*super()._statistics(), self.step_sum]

    def _move_codebook(self) -> None:
        self.average_sum.lerp_(self.step_sum, 1.0 - self.decay)
        # Laplace smoothing keeps the count of an unused code above 0, and the sum of all counts.
        total = self.average_count.sum()
        smoothed = (self.average_count + _EPSILON) / (total + self.num_embeddings * _EPSILON) * total
        self.codebook.copy_(self.average_sum / smoothed[:, None])
        self.step_sum.zero_()

    def _restart(self, chosen: Tensor, vectors: Tensor, *, count: Tensor | float) -> None:
        super()._restart(chosen, vectors, count=count)
        self.average_sum.copy_(torch.where(chosen[:, None], vectors * count, self.average_sum))


class CodebookLossQuantizer(CodebookQuantizer):
    """Nearest-neighbour quantizer whose codebook is a parameter.

    The loss is the paper's as written (Razavi et al. 2019, eq. 2)::

        loss = codebook_cost ||sg[E(x)] - e||^2 + commitment_cost ||sg[e] - E(x)||^2
    """

    def __init__(self, config: CodebookLossConfig) -> None:
        super().__init__(config, decay=_COUNT_DECAY)
        self.codebook_cost = config.codebook_cost
        self.codebook = nn.Parameter(self._random_codebook())

    def _loss(self, features: Tensor, vectors: Tensor) -> Tensor:
        codebook_loss = functional.mse_loss(vectors, features.detach())
        commitment_loss = functional.mse_loss(features, vectors.detach())
        return self.codebook_cost * codebook_loss + self.commitment_cost * commitment_loss


def spread_positions(count: int, total: int, *, start: Tensor | int = 0, device: torch.device | str = "cpu") -> Tensor:
    """Spread positions evenly over 0..total-1 without a period, as multiples of the golden ratio.

    Unlike equal steps, they do not fall into one column of every image. Unlike random numbers, they need no state and
    are the same in every process. `start` says which batch of `count` positions of the sequence to take.

    Returns:
        int64 `(count,)`, distinct if `total`, which is below 2^31, is at least 2.62 `count`.
    """
    golden = 2654435769  # 2^32 over the golden ratio
    index = torch.arange(count, device=device) + start * count
    return ((index * golden) & 0xFFFFFFFF) * total >> 32
