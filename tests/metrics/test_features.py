"""Sets are read in blocks, and refused where no metric could use them."""

import numpy as np
import pytest
import torch

from vqvae2.errors import DataError
from vqvae2.metrics import features
from vqvae2.metrics.features import check_sets, common_mean, float64_device, row_blocks


@pytest.mark.parametrize("block_rows", [1, 3, 7, 8])
def test_blocks_hold_every_row_once_in_order(monkeypatch, tmp_path, block_rows):
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    np.save(tmp_path / "set.npy", np.random.default_rng(0).standard_normal((7, 2), dtype=np.float32))
    mapped = np.load(tmp_path / "set.npy", mmap_mode="r")
    blocks = list(row_blocks(mapped))
    assert all(len(block) <= block_rows and block.dtype == torch.float64 for _, block in blocks)
    assert torch.cat([block for _, block in blocks]).numpy().tolist() == mapped.tolist()
    assert all(block.numpy().tolist() == mapped[rows].tolist() for rows, block in blocks)


def test_the_common_mean_weighs_every_image_the_same():
    a, b = np.array([[0.0, 1.0]]), np.array([[3.0, 1.0], [3.0, 4.0]])
    assert common_mean(a, b).tolist() == [2.0, 2.0]


def test_an_image_with_features_that_are_not_finite_is_named(monkeypatch):
    monkeypatch.setattr(features, "_BLOCK_ROWS", 2)
    broken = np.zeros((5, 2), dtype=np.float32)
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match=r"features must be finite, but those of image 3 are not"):
        list(row_blocks(broken))


def test_too_few_images_are_refused():
    with pytest.raises(DataError, match=r"the metric needs at least 3 images, but `b` has 2; give more images"):
        check_sets("the metric", at_least=3, a=np.zeros((3, 1)), b=np.zeros((2, 1)))


def test_sets_of_different_dimension_are_refused():
    with pytest.raises(DataError, match=r"of one dimension, got 4 \(`a`\) and 5 \(`b`\)"):
        check_sets("the metric", at_least=1, a=np.zeros((3, 4)), b=np.zeros((3, 5)))
    with pytest.raises(DataError, match=r"`b` must be features \(N, D\), .* got shape \(3,\)"):
        check_sets("the metric", at_least=1, a=np.zeros((3, 1)), b=np.zeros(3))


def test_where_there_is_no_float64_the_cpu_computes():
    assert float64_device("mps") == torch.device("cpu")
    assert float64_device("cuda:1") == torch.device("cuda:1")
