"""The Inception score of known tables of probabilities, and that of another implementation."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.image.inception import InceptionScore as OtherInceptionScore

from vqvae2.metrics import features
from vqvae2.metrics.inception_score import inception_score


def draw(count, num_classes=5):
    return 2 * np.random.default_rng(0).standard_normal((count, num_classes))


def test_sure_of_every_image_of_all_classes_scores_their_number_and_images_alike_score_one():
    assert inception_score(1000.0 * np.eye(7).repeat(3, axis=0)) == pytest.approx(7.0)
    assert inception_score(draw(1).repeat(9, axis=0)) == pytest.approx(1.0)


def test_logarithms_of_probabilities_score_by_the_formula():
    table = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    divergences = (table * np.log(table / table.mean(axis=0))).sum(axis=1)
    assert inception_score(np.log(table)) == pytest.approx(math.exp(divergences.mean()))


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all extracted features")
def test_score_equals_another_implementation():
    logits = draw(40)
    other = OtherInceptionScore(feature=torch.nn.Identity(), splits=1)
    other.update(torch.from_numpy(logits))
    with pytest.warns(UserWarning, match="degrees of freedom"):  # of its deviation of a single split
        expected, _ = other.compute()
    assert inception_score(logits) == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("block_rows", [1, 4, 100])
def test_score_does_not_depend_on_the_blocks(monkeypatch, block_rows):
    expected = inception_score(draw(11))
    monkeypatch.setattr(features, "_BLOCK_ROWS", block_rows)
    assert inception_score(draw(11)) == pytest.approx(expected, rel=1e-12)
