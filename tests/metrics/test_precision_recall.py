"""Precision, recall, density and coverage of manifolds with known answers, and of another computation."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from vqvae2.metrics import features
from vqvae2.metrics.density_coverage import DensityCoverage, density_coverage
from vqvae2.metrics.precision_recall import PrecisionRecall, precision_recall

METRICS = [precision_recall, density_coverage]


def cluster(count, centre, *, seed=0):
    """Images around a centre, in a ball of radius 1."""
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 2)) / np.sqrt(2)
    return (points + np.asarray(centre)).astype(np.float32)


def distances(a, b):
    return np.sqrt(((a[:, None].astype(np.float64) - b[None].astype(np.float64)) ** 2).sum(axis=-1))


def radii(points, k):
    """Of each point to its k-th neighbour, by another search, which leaves out the point itself."""
    return NearestNeighbors(n_neighbors=k).fit(points.astype(np.float64)).kneighbors()[0][:, -1]


@pytest.mark.parametrize("block_rows", [1, 7, 100])
def test_metrics_equal_the_definitions_whatever_the_blocks(monkeypatch, block_rows):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    samples, reference = cluster(30, (0.5, 0.3)), cluster(40, (0, 0), seed=1)
    across = distances(samples, reference)
    in_reference = across <= radii(reference, 3)
    in_samples = across <= radii(samples, 3)[:, None]
    expected = PrecisionRecall(in_reference.any(axis=1).mean(), in_samples.any(axis=0).mean())
    assert 0.2 < expected.precision < 0.95
    assert 0.2 < expected.recall < 0.95
    assert precision_recall(samples, reference, k=3) == expected

    in_reference = across <= radii(reference, 5)
    got = density_coverage(samples, reference, k=5)
    assert got.density == pytest.approx(in_reference.sum() / (5 * 30))
    assert got.coverage == in_reference.any(axis=0).mean()


ORIGINALS = 1e3 * np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)


@pytest.mark.parametrize("block_rows", [4, 100])
@pytest.mark.parametrize("images", [cluster(20, (3, 4)), *(ORIGINALS[:count].repeat(6, axis=0) for count in (1, 2, 3))])
def test_a_set_lies_within_itself_even_if_it_is_full_of_copies(monkeypatch, block_rows, images):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    assert precision_recall(images, images.copy()) == PrecisionRecall(1.0, 1.0)
    # Each ball holds its own centre, and k neighbours of which the last is on its edge; among copies its radius is 0.
    assert density_coverage(images, images.copy(), k=5) == DensityCoverage(pytest.approx(6 / 5), 1.0)


def test_samples_of_one_cluster_in_two_have_precision_without_recall():
    shared = cluster(20, (0, 0))
    reference = np.concatenate([shared, cluster(20, (50, 0), seed=1)])
    assert precision_recall(shared.copy(), reference) == PrecisionRecall(1.0, 0.5)
    assert precision_recall(reference, shared.copy()) == PrecisionRecall(0.5, 1.0)
    assert density_coverage(shared.copy(), reference).coverage == 0.5
    assert density_coverage(reference, shared.copy()).coverage == 1.0


def test_one_odd_reference_image_makes_samples_precise_but_not_dense():
    reference = np.concatenate([cluster(40, (0, 0)), [[30, 0]]]).astype(np.float32)
    samples = cluster(40, (15, 0), seed=1)  # within the ball of the odd one alone
    assert precision_recall(samples, reference).precision == 1.0
    assert density_coverage(samples, reference, k=5).density == pytest.approx(1 / 5)
    assert density_coverage(samples, reference, k=5).coverage == pytest.approx(1 / 41)


def test_images_on_the_edges_of_balls_lie_within_them():
    # On a grid of steps of 1, a ball of k = 2 reaches to both neighbours, or from an end to the second one.
    reference = np.arange(6, dtype=np.float32)[:, None] * np.ones((1, 3), dtype=np.float32)
    samples = reference + 3
    assert precision_recall(samples, reference, k=2) == PrecisionRecall(5 / 6, 5 / 6)
