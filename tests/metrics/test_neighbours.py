"""Neighbours are those of an exhaustive search, and copies are at distance zero."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from vqvae2.metrics import features
from vqvae2.metrics.neighbours import nearest_neighbours, share_nearer, squared_distances


def draw(count, *, seed=0, dimension=3):
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


@pytest.mark.parametrize("block_rows", [1, 3, 8, 100])
@pytest.mark.parametrize("is_within", [False, True])  # within a set no image is its own neighbour
def test_neighbours_equal_another_implementation_whatever_the_blocks(monkeypatch, block_rows, is_within):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    queries, references = draw(11), draw(17, seed=1)
    search = NearestNeighbors(n_neighbors=4).fit(queries if is_within else references)
    distances, indices = search.kneighbors(None if is_within else queries)
    got = nearest_neighbours(queries, None if is_within else references, k=4)
    assert got.indices.tolist() == indices.tolist()
    np.testing.assert_allclose(got.distances, distances, rtol=1e-6)  # theirs keeps float32


@pytest.mark.parametrize("block_rows", [2, 100])
def test_a_copy_is_a_neighbour_at_distance_zero(monkeypatch, block_rows):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    originals = 1e3 * draw(20, dimension=50)
    got = nearest_neighbours(np.concatenate([originals, originals[::-1], draw(1, dimension=50)]), k=1)
    assert got.indices[:40, 0].tolist() == list(range(39, -1, -1))
    assert got.distances[:40, 0].tolist() == [0.0] * 40
    assert got.distances[40, 0] > 0.0


def test_a_mean_that_is_large_beside_the_distances_takes_no_digits_of_them():
    grid = np.random.default_rng(0).permutation(64)[:, None] * np.ones((1, 4)) / 4.0  # exact beside 1e9, but no square
    got = nearest_neighbours(grid + 1e9, k=1)
    np.testing.assert_allclose(got.distances, 0.5, rtol=1e-9)


def test_the_share_that_is_nearer_counts_pairs():
    # 1 < 2, 4; 2 = 2, 2 < 4; 5 is above both.
    assert share_nearer(np.array([1.0, 2.0, 5.0]), np.array([4.0, 2.0])) == (2 + 1.5 + 0) / 6


def test_new_images_are_as_near_as_held_out_ones_and_copies_are_nearer():
    training, held_out, new = np.random.default_rng(0).standard_normal((3, 300, 4)).astype(np.float32)
    of_held_out, of_new, of_copies = (
        nearest_neighbours(images, training, k=1).distances[:, 0] for images in (held_out, new, training[:40] + 1e-3)
    )
    assert share_nearer(of_new, of_held_out) == pytest.approx(0.5, abs=0.07)  # three standard errors
    assert share_nearer(of_copies, of_held_out) > 0.99


def test_errors_of_squared_distances_are_within_their_bound():
    rows, columns = torch.from_numpy(draw(20, dimension=200)), torch.from_numpy(draw(30, seed=1, dimension=200))
    columns[:20] = rows + 1e-7 * columns[:20]
    squared, rounding = squared_distances(rows.double(), columns.double())
    exact = (rows.double()[:, None] - columns.double()).square().sum(dim=-1)
    assert ((squared - exact).abs() <= rounding).all()
    assert (rounding < 1e-9).all()
