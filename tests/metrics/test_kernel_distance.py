"""The kernel distance equals its definition, pair by pair, and another implementation."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from vqvae2.metrics import features
from vqvae2.metrics.kernel_distance import kernel_distance


def draw(count, *, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 4)) + seed / 2


def pair_by_pair(a, b):
    def mean(rows, columns, *, same):
        values = [
            (x @ y / len(x) + 1) ** 3
            for i, x in enumerate(rows)
            for j, y in enumerate(columns)
            if not (same and i == j)
        ]
        return np.mean(values)

    return mean(a, a, same=True) + mean(b, b, same=True) - 2 * mean(a, b, same=False)


@pytest.mark.parametrize("block_rows", [1, 3, 8, 100])
def test_distance_is_the_sum_over_pairs_whatever_the_blocks(monkeypatch, block_rows):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    a, b = draw(11), draw(8, seed=1)
    assert kernel_distance(a, b) == pytest.approx(pair_by_pair(a, b), rel=1e-10)


def test_distance_equals_another_implementation_on_one_subset_of_everything():
    a, b = draw(30), draw(30, seed=1)
    assert kernel_distance(a, b) == pytest.approx(poly_mmd(torch.from_numpy(a), torch.from_numpy(b)).item(), rel=1e-9)


def test_distance_of_one_distribution_is_zero_on_average():
    generator = np.random.default_rng(0)
    distances = [
        kernel_distance(generator.standard_normal((20, 4)), generator.standard_normal((5, 4))) for _ in range(200)
    ]
    assert min(distances) < 0.0
    assert abs(np.mean(distances)) < 4 * np.std(distances) / np.sqrt(len(distances))
