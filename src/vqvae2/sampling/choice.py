"""Draw codes from a prior's logits: the `choose` of a sampling walk.

Shapes: B images, L positions of a code grid, n positions of a front, K codes; "..." any leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vqvae2.config import LevelSampling
from vqvae2.sampling.walk import Choose

__all__ = ["choose_by_drawing", "draw_labels", "guide", "restrict_logits", "uniforms"]


def uniforms(images: Sequence[int], *, seed: int, level: int, count: int) -> Tensor:
    """Give the uniform numbers of images, by their numbers, at one level: float64 `(B, count)` in [0, 1)."""
    rows = [np.random.default_rng((seed, level, image)).random(count) for image in images]
    return torch.from_numpy(np.stack(rows))


def draw_labels(class_counts: Sequence[int], *, images: Sequence[int], seed: int) -> Tensor:
    """Draw the classes of images, by their numbers, with the frequencies of the training set: int64 `(B,)`."""
    cumulative = np.cumsum(class_counts) / np.sum(class_counts)
    # Classes have a stream of their own; those of the levels count up from 0.
    points = [np.random.default_rng((seed, 2**32 - 1, image)).random() for image in images]
    return torch.from_numpy(np.searchsorted(cumulative, points, side="right"))


def choose_by_drawing(randomness: Tensor, settings: LevelSampling) -> Choose:
    """Make the `choose` of sampling, which inverts the cumulative distribution at one uniform number per code.

    Args:
        randomness: float64 `(B, L)` in [0, 1), on the device where codes are chosen.
        settings: Temperature, top-k and top-p.
    """

    def choose(positions: Tensor, logits: Tensor) -> Tensor:
        if settings.temperature == 0.0:
            return logits.argmax(dim=-1)
        precise = logits.to(randomness.device).double()
        cumulative = restrict_logits(precise, settings).softmax(dim=-1).cumsum(dim=-1)
        point = randomness.index_select(1, positions.to(randomness.device)).unsqueeze(-1) * cumulative[..., -1:]
        codes = torch.searchsorted(cumulative.contiguous(), point, right=True).squeeze(-1)
        return codes.clamp_(max=logits.shape[-1] - 1).to(logits.device)

    return choose


def restrict_logits(logits: Tensor, settings: LevelSampling) -> Tensor:
    """Apply temperature (above 0), top-k and top-p to logits `(..., K)`; codes that cannot be drawn get -inf."""
    logits = logits / settings.temperature
    if settings.top_k:
        kept = logits.topk(settings.top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
    if settings.top_p < 1.0:
        ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        # A code stays if likelier codes sum to less than `top_p`, so the likeliest one always stays.
        left_out = ordered.cumsum(dim=-1) - ordered >= settings.top_p
        logits = logits.masked_fill(left_out.scatter(-1, order, left_out), -torch.inf)
    return logits


def guide(choose: Choose, scale: float) -> Choose:
    """Make the `choose` of a walk over 2B images: B with their classes, then the same B without.

    Both halves get the code that `choose` takes at `unconditional + scale * (conditional - unconditional)`: classifier-
    free guidance (Ho & Salimans 2022, eq. 6, whose w is `scale` - 1), on logits instead of scores.
    """

    def choose_for_both(positions: Tensor, logits: Tensor) -> Tensor:
        conditional, unconditional = logits.chunk(2)
        return choose(positions, unconditional + scale * (conditional - unconditional)).repeat(2, 1)

    return choose_for_both
