"""Sets of feature vectors: checked, and read one block of rows at a time in float64.

For every metric a set is an array `(N, D)` with one row per image, float32 as networks give it. It may be mapped into
memory: no metric holds more of it than a block. `device` is where to compute. A metric raises `DataError` if a set has
too few images, sets differ in dimension, or features are not finite. Shapes: N images, D features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vqvae2.errors import DataError

__all__ = ["check_sets", "common_mean", "float64_device", "row_blocks"]

# Two blocks of 2,048 features and all distances between them are 40 MB; larger ones are not faster.
_BLOCK_ROWS = 1024


def check_sets(metric: str, *, at_least: int, **sets: np.ndarray) -> None:
    """Refuse sets that are too small for the metric of that name, or are not all `(N, D)` with the same D."""
    for name, features in sets.items():
        if features.ndim != 2:
            raise DataError(f"`{name}` must be features (N, D), one row per image, got shape {features.shape}")
        if len(features) < at_least:
            wanted = "1 image" if at_least == 1 else f"{at_least} images"
            raise DataError(f"{metric} needs at least {wanted}, but `{name}` has {len(features)}; give more images")

    if len({features.shape[1] for features in sets.values()}) > 1:
        found = " and ".join(f"{features.shape[1]} (`{name}`)" for name, features in sets.items())
        raise DataError(f"sets of images must have features of one dimension, got {found}; take all from one network")


def float64_device(device: torch.device | str) -> torch.device:
    """Give the device itself, or the CPU in place of MPS, which has no float64."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


def row_blocks(
    features: np.ndarray, *, centre: Tensor | None = None, device: torch.device | str = "cpu"
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the rows of each block in the set, and the block less `centre`, float64 `(rows, D)`.

    Raises:
        DataError: If a feature is not finite.
    """
    device = float64_device(device)
    for start in range(0, len(features), _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, len(features)))
        block = torch.from_numpy(features[rows].astype(np.float64)).to(device)
        finite = block.isfinite().all(dim=1)
        if not finite.all():
            image = start + int(finite.int().argmin())
            raise DataError(
                f"features must be finite, but those of image {image} are not; look at that image, or leave it out"
            )
        yield rows, block if centre is None else block - centre


def common_mean(*sets: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Give the mean feature vector of all images of some sets, float64 `(D,)`.

    Subtracting it from all sets leaves distances unchanged, and saves digits.
    """
    total = torch.zeros(sets[0].shape[1], dtype=torch.float64, device=float64_device(device))
    for features in sets:
        for _, block in row_blocks(features, device=device):
            total += block.sum(dim=0)
    return total / sum(map(len, sets))
