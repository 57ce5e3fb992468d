"""Draw codes from priors, level by level.

Shapes: B images, h x w code grid, L = h w positions, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from vqvae2.codes import Codes
from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.models.prior import Prior
from vqvae2.walk import Choose, walk

__all__ = ["choose_by_drawing", "draw_labels", "restrict_logits", "sample_codes", "uniforms"]


def sample_codes(
    priors: Sequence[Prior],
    shapes: Sequence[tuple[int, int]],
    *,
    images: Sequence[int],
    seed: int,
    labels: Tensor | None = None,
    config: SamplingConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Codes:
    """Sample the codes of some images of a run: the top first, then each level given those above.

    The random numbers of image k come from `seed` and k alone, so an image is the same in whatever batch it is
    drawn. In float32 the logits of two batch sizes differ in their last bits, so a near-tie may fall otherwise;
    in float64 the images are identical.

    Args:
        priors: One a level, top first, in evaluation mode, on one device.
        shapes: Grid `(h, w)` of each level.
        images: The numbers k of the images to draw.
        seed: Of the run.
        labels: Classes, int64 `(B,)`; the number of classes stands for "no class", and so does None for all.
        config: Temperature, top-k and top-p; None draws from the priors as they are.
        on_progress: Called with the codes drawn so far, counted per image, and their total.

    Returns:
        The codes of all levels.

    Raises:
        ConfigError: If a label or `top_k` does not fit the priors.
    """
    config = config or SamplingConfig()
    _check(priors, len(images), labels, config)
    total = sum(height * width for height, width in shapes)
    maps: list[Tensor] = []
    for level, (prior, shape) in enumerate(zip(priors, shapes, strict=True)):
        device = next(prior.parameters()).device
        randomness = uniforms(images, seed=seed, level=level, count=shape[0] * shape[1])
        if device.type != "mps":  # it has no float64, so there the choice is made on the CPU
            randomness = randomness.to(device)
        choose = choose_by_drawing(randomness, config)
        level_labels = None if labels is None else labels.to(device)
        if on_progress is not None:
            before = sum(height * width for height, width in shapes[:level])
            choose = _reporting(choose, on_progress, before, total)
        maps.append(walk(prior, choose, batch_size=len(images), size=shape, above=maps, labels=level_labels))
    return Codes(tuple(maps))


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


def choose_by_drawing(randomness: Tensor, config: SamplingConfig) -> Choose:
    """Make the `choose` of sampling: the inverse of the cumulative distribution at one uniform number a code.

    Args:
        randomness: float64 `(B, L)` in [0, 1); the choice is made on its device.
        config: Temperature, top-k and top-p.
    """

    def choose(position: int, logits: Tensor) -> Tensor:
        if config.temperature == 0.0:
            return logits.argmax(dim=1)
        precise = logits.to(randomness.device).double()
        cumulative = restrict_logits(precise, config).softmax(dim=1).cumsum(dim=1)
        point = randomness[:, position, None] * cumulative[:, -1:]
        codes = torch.searchsorted(cumulative, point, right=True).squeeze(1)
        return codes.clamp_(max=logits.shape[1] - 1).to(logits.device)

    return choose


def restrict_logits(logits: Tensor, config: SamplingConfig) -> Tensor:
    """Apply temperature (above 0), top-k and top-p to logits `(B, K)`: what cannot be drawn becomes -inf."""
    logits = logits / config.temperature
    if config.top_k:
        kept = logits.topk(config.top_k, dim=1)
        logits = torch.full_like(logits, -torch.inf).scatter(1, kept.indices, kept.values)
    if config.top_p < 1.0:
        ordered, order = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
        # A code stays if those likelier than it do not reach the sum: the likeliest one always does.
        left_out = ordered.cumsum(dim=1) - ordered >= config.top_p
        logits = logits.masked_fill(left_out.scatter(1, order, left_out), -torch.inf)
    return logits


def _reporting(choose: Choose, report: Callable[[int, int], None], before: int, total: int) -> Choose:
    def choose_and_report(position: int, logits: Tensor) -> Tensor:
        codes = choose(position, logits)
        report(before + position + 1, total)
        return codes

    return choose_and_report


def _check(priors: Sequence[Prior], num_images: int, labels: Tensor | None, config: SamplingConfig) -> None:
    for prior in priors:
        if config.top_k > prior.num_embeddings:
            raise ConfigError(f"`top_k` must be in 0..{prior.num_embeddings} (the codebook size), got {config.top_k}")
    if labels is None:
        return
    num_classes = priors[0].space.num_classes
    if labels.shape != (num_images,):
        raise ConfigError(f"`labels` must be of shape ({num_images},), one for each image, got {tuple(labels.shape)}")
    if not num_classes:
        raise ConfigError("`labels` must be None: these priors were trained without classes")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > num_classes:
        raise ConfigError(f"`labels` must be in 0..{num_classes - 1}, or {num_classes} for no class, got {low}..{high}")
