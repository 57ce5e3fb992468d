"""Draw codes level by level: all of them for new images, or the hidden ones of images that are partly known.

Shapes: B images, h x w code grid of one level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vqvae2.codes import Codes
from vqvae2.config import LevelSampling, SamplingConfig, level_names
from vqvae2.errors import ConfigError
from vqvae2.models.prior import Prior
from vqvae2.sampling.choice import choose_by_drawing, guide, uniforms
from vqvae2.sampling.hooks import DrawnFront, Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.sampling.walk import OnFront, walk

__all__ = ["check_sampling", "draw_levels", "sample_codes"]


def sample_codes(
    priors: Sequence[Prior],
    shapes: Sequence[tuple[int, int]],
    num_images: int,
    request: DrawRequest = DrawRequest(),
    *,
    hooks: Hooks = Hooks(),
) -> Codes:
    """Sample the codes of new images: the top first, then each level given those above.

    The random numbers of image k come from the seed and k alone, so an image is the same in every batch. In float32,
    though, the logits of two batch sizes differ in their last bits, and a near-tie may fall either way.

    Args:
        priors: One per level, top first, in evaluation mode, on one device.
        shapes: Grid `(h, w)` of each level.
        num_images: B.
        request: What to draw. A label equal to the number of classes means "no class", and so does None.
        hooks: Called after each front of codes.

    Returns:
        The codes of all levels.

    Raises:
        ConfigError: If the request does not fit the priors.
    """
    if request.num_variants != 1:
        raise ConfigError(f"`num_variants` must be 1 for new images, got {request.num_variants}; draw more images")
    images = range(request.first_image, request.first_image + num_images)
    return draw_levels(priors, shapes, images, request, hooks=hooks)


def draw_levels(
    priors: Sequence[Prior],
    shapes: Sequence[tuple[int, int]],
    images: Sequence[int],
    request: DrawRequest,
    *,
    known: Sequence[Tensor] | None = None,
    hooks: Hooks,
) -> Codes:
    """Walk the levels, top first, and draw each given those above; see `sample_codes`.

    Args:
        images: The number k of each image; `first_image` and `num_variants` of the request play no part.
        known: Codes to keep, int64 `(B, h, w)` for each level, with -1 where to draw; None draws all codes. A level
            that is all known takes no walk.
    """
    count, config = len(images), request.sampling or SamplingConfig()
    check_sampling(priors, config)
    device = next(priors[0].parameters()).device
    labels = _labels(priors, count, request.label, config.guidance_scale, device)
    repeats = 1
    if config.guidance_scale != 1.0:
        # Guidance walks every image twice: with its class, and without.
        assert labels is not None
        repeats, labels = 2, torch.cat((labels, torch.full_like(labels, priors[0].space.num_classes)))
    given = [None if known is None else known[level].to(device) for level in range(len(priors))]
    # Levels that are not drawn yet hold their known codes, and zeros.
    maps = [
        torch.zeros(count, *shape, dtype=torch.int64, device=device) if codes is None else codes.clamp(min=0)
        for codes, shape in zip(given, shapes, strict=True)
    ]
    walked_levels = [level for level, codes in enumerate(given) if codes is None or bool((codes < 0).any())]
    total = sum(maps[level].numel() for level in walked_levels)
    done = 0
    for level in walked_levels:
        level_known, (height, width) = given[level], shapes[level]
        randomness = uniforms(images, seed=request.seed, level=level, count=height * width)
        if device.type != "mps":  # MPS has no float64, so there the choice is made on the CPU
            randomness = randomness.to(device)
        choose = choose_by_drawing(randomness, config.level(level))
        maps[level] = walk(
            priors[level],
            choose if repeats == 1 else guide(choose, config.guidance_scale),
            batch_size=repeats * count,
            size=(height, width),
            above=[codes.repeat(repeats, 1, 1) for codes in maps[:level]],
            labels=labels,
            known=None if level_known is None else level_known.repeat(repeats, 1, 1),
            on_front=_report_fronts(hooks, maps, level, before=done, total=total),
        )[:count]
        done += maps[level].numel()
    return Codes(tuple(maps))


def _report_fronts(hooks: Hooks, maps: Sequence[Tensor], level: int, *, before: int, total: int) -> OnFront:
    """Tell the hooks of each front of one level, with all levels as they then are."""
    count = len(maps[level])

    def on_front(positions: Tensor, walked: Tensor) -> None:
        if hooks.on_progress is not None:
            hooks.on_progress(before + count * len(positions), total)
        if hooks.on_front is not None:
            codes = Codes((*maps[:level], walked[:count].clone(), *maps[level + 1 :]))
            hooks.on_front(DrawnFront(codes, level, positions))

    return on_front


def _labels(
    priors: Sequence[Prior], num_images: int, labels: int | Tensor | None, scale: float, device: torch.device
) -> Tensor | None:
    """Check the label of a request against its guidance scale, and give each image its class, int64 `(B,)`."""
    num_classes = priors[0].space.num_classes
    if scale != 1.0 and not num_classes:
        raise ConfigError(f"`guidance_scale` must be 1 for priors that were trained without classes, got {scale:g}")
    if scale != 1.0 and labels is None:
        raise ConfigError(f"`guidance_scale` {scale:g} needs a class; give one, or leave it at 1")
    if labels is None:
        return None
    if not num_classes:
        raise ConfigError("`label` must be None, since these priors were trained without classes")
    if not isinstance(labels, Tensor):
        labels = torch.full((num_images,), labels)
    if labels.shape != (num_images,):
        raise ConfigError(f"`label` must be of shape ({num_images},), one for each image, got {tuple(labels.shape)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > num_classes:
        raise ConfigError(f"`label` must be in 0..{num_classes - 1}, or {num_classes} for no class, got {low}..{high}")
    return labels.to(device)


def check_sampling(priors: Sequence[Prior], config: SamplingConfig) -> None:
    """Check settings against the priors that draw with them.

    Raises:
        ConfigError: If there are more values than levels, or `top_k` is above the size of a codebook.
    """
    for name in LevelSampling._fields:
        count = len(getattr(config, name))
        if count > len(priors):
            raise ConfigError(f"`{name}` must hold at most {len(priors)} values, one per level, got {count}")
    for level, prior in enumerate(priors):
        top_k = config.level(level).top_k
        if top_k > prior.num_embeddings:
            raise ConfigError(
                f"`top_k` must be in 0..{prior.num_embeddings} at the {level_names(len(priors))[level]} level "
                f"(its codebook size), got {top_k}"
            )
