"""Draw one code from a prior's logits: the `choose` of a walk that samples.

Shapes: B images, L positions of a code grid, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vqvae2.config import LevelSampling
from vqvae2.errors import ConfigError
from vqvae2.sampling.walk import Choose

__all__ = ["choose_by_drawing", "draw_labels", "guide", "restrict_logits", "uniforms"]


def uniforms(images: Sequence[int], *, seed: int, level: int, count: int) -> Tensor:
    """Give the uniform numbers of some images of a run at one level: float64 `(B, count)` in [0, 1)."""
    rows = [_generator(seed, level, image).random(count) for image in images]
    return torch.from_numpy(np.stack(rows))


def draw_labels(class_counts: Sequence[int], *, images: Sequence[int], seed: int) -> Tensor:
    """Draw the class of some images of a run with the frequencies of the training set: int64 `(B,)`."""
    cumulative = np.cumsum(class_counts) / np.sum(class_counts)
    # One stream for classes beside those of the levels, which count up from 0.
    points = [_generator(seed, 2**32 - 1, image).random() for image in images]
    return torch.from_numpy(np.searchsorted(cumulative, points, side="right"))


def _generator(seed: int, stream: int, image: int) -> np.random.Generator:
    if seed < 0 or image < 0:
        raise ConfigError(f"`seed` and the images' numbers must be at least 0, got seed {seed} and image {image}")
    return np.random.default_rng((seed, stream, image))


def choose_by_drawing(randomness: Tensor, settings: LevelSampling) -> Choose:
    """Make the `choose` of sampling: the inverse of the cumulative distribution at one uniform number a code.

    Args:
        randomness: float64 `(B, L)` in [0, 1); the choice is made on its device.
        settings: Temperature, top-k and top-p.
    """

    def choose(position: int, logits: Tensor) -> Tensor:
        if settings.temperature == 0.0:
            return logits.argmax(dim=1)
        precise = logits.to(randomness.device).double()
        cumulative = restrict_logits(precise, settings).softmax(dim=1).cumsum(dim=1)
        point = randomness[:, position, None] * cumulative[:, -1:]
        codes = torch.searchsorted(cumulative, point, right=True).squeeze(1)
        return codes.clamp_(max=logits.shape[1] - 1).to(logits.device)

    return choose


def restrict_logits(logits: Tensor, settings: LevelSampling) -> Tensor:
    """Apply temperature (above 0), top-k and top-p to logits `(B, K)`: what cannot be drawn becomes -inf."""
    logits = logits / settings.temperature
    if settings.top_k:
        kept = logits.topk(settings.top_k, dim=1)
        logits = torch.full_like(logits, -torch.inf).scatter(1, kept.indices, kept.values)
    if settings.top_p < 1.0:
        ordered, order = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
        # A code stays if those likelier than it do not reach the sum: the likeliest one always does.
        left_out = ordered.cumsum(dim=1) - ordered >= settings.top_p
        logits = logits.masked_fill(left_out.scatter(1, order, left_out), -torch.inf)
    return logits


def guide(choose: Choose, scale: float) -> Choose:
    """Make the `choose` of a walk over every image twice, with its class and then without, in one batch of 2B.

    Both halves get the code that `choose` takes at `unconditional + scale * (conditional - unconditional)`: classifier-
    free guidance (Ho & Salimans 2022, eq. 6, whose w is `scale` - 1), on logits instead of scores.
    """

    def choose_for_both(position: int, logits: Tensor) -> Tensor:
        conditional, unconditional = logits.chunk(2)
        return choose(position, unconditional + scale * (conditional - unconditional)).repeat(2)

    return choose_for_both
