"""Laws of the search for copies."""

import numpy as np
import pytest
import torch

from vqvae2.evaluation.memorization import measure_memorization

CPU = torch.device("cpu")


@pytest.fixture
def features():
    """Training, held-out and new images, all of one distribution."""
    return np.random.default_rng(0).standard_normal((3, 300, 4)).astype(np.float32)


def test_new_images_are_as_near_as_held_out_ones(features):
    training, validation, samples = features
    found = measure_memorization(samples, validation, training, num_shown=2, device=CPU)
    assert found.share_nearer == pytest.approx(0.5, abs=0.07)  # three standard errors


def test_copies_are_nearer_than_held_out_images(features):
    training, validation, _ = features
    found = measure_memorization(training[:40] + 1e-3, validation, training, num_shown=5, device=CPU)
    assert found.share_nearer > 0.99
    assert found.sample_distance < 0.01 < found.validation_distance
    assert np.array_equal(found.neighbours[:, 0], found.nearest_samples)  # each copy finds its original


def test_the_share_counts_pairs():
    training = np.zeros((3, 1), dtype=np.float32)
    samples, validation = np.array([[1.0], [2.0], [5.0]]), np.array([[2.0], [4.0]])
    found = measure_memorization(samples, validation, training, num_shown=3, device=CPU)
    assert found.share_nearer == (2 + 1.5 + 0) / 6  # 1 < 2, 4; 2 = 2, 2 < 4; 5 is above both
    assert found.nearest_samples.tolist() == [0, 1, 2]
    assert (found.sample_distance, found.validation_distance) == (2.0, 3.0)


def test_shown_samples_come_with_their_neighbours_in_order(features):
    training, validation, samples = features
    found = measure_memorization(samples, validation, training, num_shown=4, num_neighbours=3, device=CPU)
    distances = np.linalg.norm(samples[:, None].astype(np.float64) - training[None], axis=2)
    assert found.nearest_samples.tolist() == np.argsort(distances.min(axis=1))[:4].tolist()
    assert found.neighbours.tolist() == np.argsort(distances, axis=1)[found.nearest_samples, :3].tolist()
