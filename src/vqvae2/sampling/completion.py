"""Draw the hidden codes of images whose other codes are known: completion, variation, and sampling.

Shapes: B images, H W pixels, h x w code grid of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vqvae2.codes import Codes
from vqvae2.config import LevelSampling, SamplingConfig, VQVAE2Config, level_names
from vqvae2.errors import ConfigError
from vqvae2.images import pad_to_multiple
from vqvae2.models.prior import Prior
from vqvae2.sampling.choice import choose_by_drawing, guide, uniforms
from vqvae2.sampling.walk import Choose, walk

__all__ = ["DrawnRows", "complete_codes", "fill_hidden", "hidden_codes", "hide_pixels", "mask_below"]


class DrawnRows(NamedTuple):
    """What there is of some images in the middle of a drawing."""

    codes: Codes
    """All levels of B images; a hidden code that is not drawn yet is 0."""
    level: int
    """The level that is being drawn, 0 the top; those above it are whole."""
    num_rows: int
    """Rows of that level that are whole."""


def complete_codes(
    priors: Sequence[Prior],
    codes: Codes,
    hidden: Sequence[Tensor],
    *,
    images: Sequence[int],
    seed: int,
    labels: Tensor | None = None,
    config: SamplingConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_row: Callable[[DrawnRows], None] | None = None,
    compile: bool = False,
) -> Codes:
    """Draw the hidden codes of some images, the top first, and keep the known ones.

    A hidden code is drawn given all levels above and the codes of its own level that come before it in raster order,
    known or drawn. Known codes that come after it on its level, to its right or below, have no say in it.

    For several completions of one image, repeat it under other numbers k: the random numbers of image k come from
    `seed` and k alone, as in `sample_codes`, and those of a code do not depend on what is hidden.

    Args:
        priors: One a level, top first, in evaluation mode, on one device.
        codes: All levels of B images; what is hidden may be anything.
        hidden: Which codes to draw, bool `(B, h, w)` for each level. A level of which nothing is hidden costs nothing.
        images: The numbers k of the images.
        seed: Of the run.
        labels: Classes, int64 `(B,)`; the number of classes stands for "no class", and so does None for all.
        config: Temperature, top-k, top-p and guidance; None draws from the priors as they are.
        on_progress: Called with the number of codes visited so far, of all images together, and their total.
        on_row: Called after each row of codes with what there is. What it raises ends the drawing.
        compile: Whether the walks' steps are compiled, see `walk`.

    Returns:
        The codes of all levels.

    Raises:
        ConfigError: If a label or the config does not fit the priors.
        ValueError: If shapes do not fit each other, or a map of `hidden` is not bool.
    """
    config = config or SamplingConfig()
    _check_codes(priors, codes, hidden, images)
    _check_labels(priors, codes.batch_size, labels, config)
    _check_config(priors, config)
    is_walked = [bool(level.any()) for level in hidden]
    total = sum(known.numel() for known, walked in zip(codes, is_walked, strict=True) if walked)
    done = 0
    maps: list[Tensor] = []
    for level, prior in enumerate(priors):
        device = next(prior.parameters()).device
        known = codes[level].to(device)
        if is_walked[level]:
            randomness = uniforms(images, seed=seed, level=level, count=known[0].numel())
            if device.type != "mps":  # it has no float64, so there the choice is made on the CPU
                randomness = randomness.to(device)
            choose = choose_by_drawing(randomness, config.level(level))
            choose = _keep_known(choose, known, hidden[level].to(device))
            if on_progress is not None:
                choose = _report(choose, on_progress, done, total)
            if on_row is not None:
                below = [torch.where(hidden[index], 0, codes[index]).to(device) for index in range(level, len(codes))]
                choose = _show_rows(choose, on_row, [*maps, *below], level)
            done += known.numel()
            level_labels = None if labels is None else labels.to(device)
            known = _walk(prior, choose, maps, known.shape, level_labels, config.guidance_scale, compile=compile)
        maps.append(known)
    return Codes(tuple(maps))


def mask_below(size: tuple[int, int], known_rows: float) -> Tensor:
    """Make the mask of images whose upper part is known: True below, to be drawn.

    Args:
        size: Height and width in pixels.
        known_rows: Below 1 the known share of the height, from 1 on a number of pixel rows; 0 hides everything.

    Returns:
        bool `(H, W)`.

    Raises:
        ConfigError: If nothing would be hidden, or the number of rows is not a whole one.
    """
    height, width = size
    rows = min(round(known_rows * height), height - 1) if 0 <= known_rows < 1 else known_rows
    if not 0 <= rows < height or rows != int(rows):
        raise ConfigError(
            f"`known_rows` must be a share of the height below 1 or a whole number of pixel rows below {height}, "
            f"got {known_rows:g}"
        )
    return (torch.arange(height) >= rows)[:, None].repeat(1, width)


def hide_pixels(images: Tensor, mask: Tensor) -> Tensor:
    """Make the masked pixels of images `(B, C, H, W)` grey, 0, to be looked at; `mask` is as for `fill_hidden`."""
    return images.masked_fill(mask.unsqueeze(-3), 0.0)


def fill_hidden(images: Tensor, mask: Tensor) -> Tensor:
    """Let known pixels grow over the masked ones, so that an encoder meets no edge where the mask begins.

    What it makes of known pixels then stays close to what it makes of the whole image: a plain grey there would change
    most codes near by, and the priors would follow them.

    Args:
        images: `(B, C, H, W)`.
        mask: bool `(B, H, W)`, or `(H, W)` for all images.

    Returns:
        `(B, C, H, W)`, which do not depend on masked pixels; an image of which nothing is known is grey, 0.
    """
    filled = hide_pixels(images, mask)
    known = (~mask).to(images.dtype).expand(len(images), *images.shape[-2:]).unsqueeze(1)
    while True:  # a ring of pixels at a time, each the mean of its known neighbours
        weight = functional.avg_pool2d(known, 3, stride=1, padding=1)
        ring = (known == 0) & (weight > 0)
        if not ring.any():
            return filled
        mean = functional.avg_pool2d(filled, 3, stride=1, padding=1) / weight.clamp(min=1 / 9)
        filled, known = torch.where(ring, mean, filled), torch.where(ring, 1.0, known)


def hidden_codes(mask: Tensor, config: VQVAE2Config, *, margin: int = 0) -> tuple[Tensor, ...]:
    """Say which codes a mask of pixels hides: those with a masked pixel in their cell, and perhaps some around them.

    Args:
        mask: bool `(B, H, W)`, True where an image is to be drawn.
        config: Of the tokenizer.
        margin: How many codes further, on each level. An encoder looks beyond a code's own cell, so codes beside the
            mask differ a little from those of the whole image, but they still tell more than they mislead.

    Returns:
        bool `(B, h, w)` for each level, top first.

    Raises:
        ConfigError: If `margin` is below 0.
        ValueError: If `mask` is not bool of rank 3.
    """
    if mask.dtype != torch.bool or mask.ndim != 3:
        raise ValueError(f"`mask` must be bool of shape (B, H, W), got {mask.dtype} of shape {tuple(mask.shape)}")
    if margin < 0:
        raise ConfigError(f"`margin` must be at least 0, got {margin}")
    padded = pad_to_multiple(mask[:, None].float(), config.stride)  # as images are padded before they are encoded
    cells = (functional.max_pool2d(padded, reduction) for reduction in config.reductions)
    grown = (functional.max_pool2d(cell, 2 * margin + 1, stride=1, padding=margin) for cell in cells)
    return tuple(level[:, 0] > 0 for level in grown)


def _walk(
    prior: Prior,
    choose: Choose,
    above: Sequence[Tensor],
    grid: torch.Size,
    labels: Tensor | None,
    guidance_scale: float,
    *,
    compile: bool,
) -> Tensor:
    """Walk one level's grid `(B, h, w)`; with guidance, every image twice."""
    batch_size, *size = grid
    if guidance_scale != 1.0:
        assert labels is not None
        choose = guide(choose, guidance_scale)
        above = [codes.repeat(2, 1, 1) for codes in above]
        labels = torch.cat((labels, torch.full_like(labels, prior.space.num_classes)))
    walked = walk(
        prior,
        choose,
        batch_size=batch_size if guidance_scale == 1.0 else 2 * batch_size,
        size=(size[0], size[1]),
        above=above,
        labels=labels,
        compile=compile,
    )
    return walked[:batch_size]


def _keep_known(draw: Choose, known: Tensor, hidden: Tensor) -> Choose:
    known, hidden = known.flatten(1), hidden.flatten(1)

    def choose(position: int, logits: Tensor) -> Tensor:
        return torch.where(hidden[:, position], draw(position, logits), known[:, position])

    return choose


def _report(choose: Choose, report: Callable[[int, int], None], before: int, total: int) -> Choose:
    def choose_and_report(position: int, logits: Tensor) -> Tensor:
        codes = choose(position, logits)
        report(before + (position + 1) * len(codes), total)
        return codes

    return choose_and_report


def _show_rows(choose: Choose, show: Callable[[DrawnRows], None], maps: list[Tensor], level: int) -> Choose:
    """Note in the level's map what is chosen, and show all maps after each row of it."""
    drawn, width = maps[level].flatten(1), maps[level].shape[2]

    def choose_and_show(position: int, logits: Tensor) -> Tensor:
        drawn[:, position] = codes = choose(position, logits)
        row, column = divmod(position, width)
        if column == width - 1:
            maps[level] = drawn.unflatten(1, (-1, width)).clone()
            show(DrawnRows(Codes(tuple(maps)), level, row + 1))
        return codes

    return choose_and_show


def _check_codes(priors: Sequence[Prior], codes: Codes, hidden: Sequence[Tensor], images: Sequence[int]) -> None:
    if not len(priors) == len(codes) == len(hidden):
        raise ValueError(
            f"`codes` and `hidden` must hold one map for each of {len(priors)} priors, "
            f"got {len(codes)} and {len(hidden)}"
        )
    if len(images) != codes.batch_size:
        raise ValueError(f"`images` must give a number for each of {codes.batch_size} images, got {len(images)}")
    for level, (known, mask) in enumerate(zip(codes, hidden, strict=True)):
        if mask.dtype != torch.bool or mask.shape != known.shape:
            raise ValueError(
                f"`hidden[{level}]` must be bool of shape {tuple(known.shape)}, as the level's codes, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )


def _check_labels(priors: Sequence[Prior], num_images: int, labels: Tensor | None, config: SamplingConfig) -> None:
    num_classes = priors[0].space.num_classes
    if config.guidance_scale != 1.0 and not num_classes:
        raise ConfigError(
            f"`guidance_scale` must be 1 for priors that were trained without classes, got {config.guidance_scale:g}"
        )
    if config.guidance_scale != 1.0 and labels is None:
        raise ConfigError(f"`guidance_scale` {config.guidance_scale:g} needs a class; give one, or leave it at 1")
    if labels is None:
        return
    if labels.shape != (num_images,):
        raise ConfigError(f"`labels` must be of shape ({num_images},), one for each image, got {tuple(labels.shape)}")
    if not num_classes:
        raise ConfigError("`labels` must be None: these priors were trained without classes")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > num_classes:
        raise ConfigError(f"`labels` must be in 0..{num_classes - 1}, or {num_classes} for no class, got {low}..{high}")


def _check_config(priors: Sequence[Prior], config: SamplingConfig) -> None:
    for name in LevelSampling._fields:
        count = len(getattr(config, name))
        if count > len(priors):
            raise ConfigError(f"`{name}` must hold at most {len(priors)} values, one a level, got {count}")
    for level, prior in enumerate(priors):
        top_k = config.level(level).top_k
        if top_k > prior.num_embeddings:
            raise ConfigError(
                f"`top_k` must be in 0..{prior.num_embeddings} at the {level_names(len(priors))[level]} level "
                f"(its codebook size), got {top_k}"
            )
