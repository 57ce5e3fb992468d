"""Sets are read in blocks, and refused where no metric could use them."""

import numpy as np
import pytest
import torch

from vqvae2.errors import DataError
from vqvae2.metrics import features
from vqvae2.metrics.density_coverage import density_coverage
from vqvae2.metrics.features import common_mean, float64_device, row_blocks
from vqvae2.metrics.frechet_distance import frechet_distance, gaussian_statistics
from vqvae2.metrics.inception_score import inception_score
from vqvae2.metrics.kernel_distance import kernel_distance
from vqvae2.metrics.neighbours import nearest_neighbours
from vqvae2.metrics.precision_recall import precision_recall


@pytest.mark.parametrize("block_rows", [1, 3, 7, 8])
def test_blocks_hold_every_row_once_in_order(monkeypatch, tmp_path, block_rows):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    np.save(tmp_path / "set.npy", np.random.default_rng(0).standard_normal((7, 2), dtype=np.float32))
    mapped = np.load(tmp_path / "set.npy", mmap_mode="r")
    blocks = list(row_blocks(mapped))
    assert all(len(block) <= block_rows and block.dtype == torch.float64 for _, block in blocks)
    assert torch.cat([block for _, block in blocks]).numpy().tolist() == mapped.tolist()
    assert all(block.numpy().tolist() == mapped[rows].tolist() for rows, block in blocks)


def test_an_image_with_features_that_are_not_finite_is_named(monkeypatch):
    monkeypatch.setattr(features, "_BLOCK_ROWS", 2)
    broken = np.zeros((5, 2), dtype=np.float32)
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match=r"features must be finite, but those of image 3 are not"):
        list(row_blocks(broken))


def frechet(samples, reference):
    return frechet_distance(gaussian_statistics(samples), gaussian_statistics(reference))


METRICS = {
    "a Fréchet distance": (frechet, 2),
    "the kernel distance": (kernel_distance, 2),
    "precision and recall with k = 3": (precision_recall, 4),
    "density and coverage with k = 5": (density_coverage, 6),
}


@pytest.mark.parametrize("name", METRICS)
def test_sets_that_are_too_small_or_do_not_match_are_refused(name):
    metric, least = METRICS[name]
    many, few = np.eye(least, 3), np.eye(least - 1, 3)
    too_few = f"{name} needs at least {least} images, but `.*` has {least - 1}"
    for samples, reference, message in (
        (few, many, too_few),
        (many, few, too_few),
        (np.eye(9, 4), np.eye(9, 5), r"of one dimension, got 4 \(`.*`\) and 5"),
        (np.zeros(9), np.zeros(9), r"must be features \(N, D\).* got shape \(9,\)"),
    ):
        with pytest.raises(DataError, match=message):
            metric(samples, reference)


def test_a_search_and_a_score_need_images_too():
    few, more = np.zeros((2, 1)), np.zeros((3, 1))
    for message, search in (
        ("at least 4 images, but `queries` has 3", lambda: nearest_neighbours(more, k=3)),
        ("at least 3 images, but `references` has 2", lambda: nearest_neighbours(more, few, k=3)),
        (r"got 1 \(`queries`\) and 2 \(`references`\)", lambda: nearest_neighbours(few, np.zeros((2, 2)), k=1)),
        ("at least 1 image, but `logits` has 0", lambda: inception_score(few[:0])),
    ):
        with pytest.raises(DataError, match=message):
            search()
    for metric in (precision_recall, density_coverage, nearest_neighbours):
        with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
            metric(few, more, k=0)


def test_the_common_mean_weighs_every_image_the_same_and_where_there_is_no_float64_the_cpu_computes():
    assert common_mean(np.array([[0.0, 1.0]]), np.array([[3.0, 1.0], [3.0, 4.0]])).tolist() == [2.0, 2.0]
    assert float64_device("mps") == torch.device("cpu")
    assert float64_device("cuda:1") == torch.device("cuda:1")
