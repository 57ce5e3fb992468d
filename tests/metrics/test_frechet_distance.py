"""The Fréchet distance equals closed forms and another implementation, and needs no full rank."""

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from vqvae2.metrics import features
from vqvae2.metrics.frechet_distance import GaussianStatistics, frechet_distance, gaussian_statistics


def draw(count, dimension, *, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((count, dimension)) @ generator.standard_normal((dimension, dimension))) + seed


def distance(a, b):
    return frechet_distance(gaussian_statistics(a), gaussian_statistics(b))


def test_covariances_that_do_not_commute_have_the_distance_of_the_closed_form_in_two_dimensions():
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -1.0], [-1.0, 1.0]])
    # Of a 2x2 matrix M with roots of its eigenvalues s and t: (s + t)^2 = tr M + 2 sqrt(det M).
    trace_of_root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    expected = np.trace(a) + np.trace(b) - 2 * trace_of_root
    got = frechet_distance(*(GaussianStatistics(np.zeros(2), covariance) for covariance in (a, b)))
    assert got == pytest.approx(expected, rel=1e-12)


def test_distance_equals_another_implementation():
    a, b = draw(60, 5), draw(40, 5, seed=1)
    identity = torch.nn.Identity()
    identity.num_features = 5
    other = FrechetInceptionDistance(feature=identity)
    other.update(torch.from_numpy(a), real=True)
    other.update(torch.from_numpy(b), real=False)
    assert distance(a, b) == pytest.approx(other.compute().item(), rel=1e-9)


def test_distance_is_symmetric_and_zero_to_itself():
    a, b = draw(30, 6), draw(30, 6, seed=1)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-12)
    assert 0.0 <= distance(a, a) < 1e-12 * a.var(axis=0).sum()


def test_fewer_images_than_features_have_the_distance_of_their_own_subspace():
    small_a, small_b = draw(6, 4), draw(5, 4, seed=1)
    basis = np.linalg.qr(draw(40, 40, seed=3))[0][:4]  # 40 features that lie in 4 directions
    assert distance(small_a @ basis, small_b @ basis) == pytest.approx(distance(small_a, small_b), rel=1e-10)


def test_a_set_without_spread_is_apart_by_mean_and_trace():
    point, spread = gaussian_statistics(np.ones((3, 4))), gaussian_statistics(draw(9, 4))
    expected = np.square(spread.mean - 1).sum() + np.trace(spread.covariance)
    assert frechet_distance(point, spread) == pytest.approx(expected)
    assert frechet_distance(point, point) == 0.0


@pytest.mark.parametrize("block_rows", [1, 4, 50])
def test_statistics_do_not_depend_on_the_blocks(monkeypatch, block_rows):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    drawn = draw(23, 4)
    got = gaussian_statistics(drawn)
    np.testing.assert_allclose(got.mean, drawn.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(got.covariance, np.cov(drawn, rowvar=False), rtol=1e-12)


def test_a_mean_that_is_large_beside_the_spread_takes_no_digits_of_the_covariance(monkeypatch):
    monkeypatch.setattr(features, "_BLOCK_ROWS", 8)
    small = np.random.default_rng(0).integers(-4, 5, (50, 3)) / 4.0  # exact beside 1e6, in float32 too
    covariance = gaussian_statistics((small + 1e6).astype(np.float32)).covariance
    np.testing.assert_allclose(covariance, np.cov(small, rowvar=False), rtol=1e-9, atol=1e-9)
