"""Draw the codes of new images: a completion of which nothing is known.

Shapes: B images, h x w code grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqvae2.codes import Codes
from vqvae2.config import SamplingConfig
from vqvae2.models.prior import Prior
from vqvae2.sampling.completion import DrawnRows, complete_codes

__all__ = ["sample_codes"]


def sample_codes(
    priors: Sequence[Prior],
    shapes: Sequence[tuple[int, int]],
    *,
    images: Sequence[int],
    seed: int,
    labels: Tensor | None = None,
    config: SamplingConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_row: Callable[[DrawnRows], None] | None = None,
    compile: bool = False,
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
        config: Temperature, top-k, top-p and guidance; None draws from the priors as they are.
        on_progress: Called with the number of codes drawn so far, of all images together, and their total.
        on_row: Called after each row of codes with what there is; see `complete_codes`.
        compile: Whether the walks' steps are compiled, see `walk`.

    Returns:
        The codes of all levels.

    Raises:
        ConfigError: If a label or the config does not fit the priors.
    """
    grids = [(len(images), *shape) for shape in shapes]
    return complete_codes(
        priors,
        Codes(tuple(torch.zeros(grid, dtype=torch.int64) for grid in grids)),
        [torch.ones(grid, dtype=torch.bool) for grid in grids],
        images=images,
        seed=seed,
        labels=labels,
        config=config,
        on_progress=on_progress,
        on_row=on_row,
        compile=compile,
    )
