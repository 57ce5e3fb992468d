"""Laws of rejection: which candidates stay, and what they are judged by."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vqvae2.errors import ConfigError
from vqvae2.models.classifier import ClassifierOutput
from vqvae2.pipeline.rejection import BestFraction, intended_probability, num_candidates

CANDIDATES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40)


class Brightness(nn.Module):
    """Takes an image for class 1 as surely as it is bright."""

    def forward(self, images):
        brightness = images.mean(dim=(1, 2, 3))
        return ClassifierOutput(torch.stack((-brightness, brightness), dim=1), images.flatten(1))


def keep(rule, candidates):
    """Offer (label, score) pairs in turn, and return the numbers of those that stay."""
    kept: set[int] = set()
    for number, (label, score) in enumerate(candidates):
        decision = rule.offer(number, label=label, score=score)
        if decision.is_kept:
            kept.add(number)
        if decision.displaced is not None:
            kept.remove(decision.displaced)
    return kept


@given(candidates=CANDIDATES, share=st.floats(0.01, 1.0))
def test_the_best_of_each_class_stay(candidates, share):
    num_kept = max(1, round(share * len(candidates)))
    kept = keep(BestFraction(torch.tensor([label for label, _ in candidates]), num_kept), candidates)
    assert len(kept) == num_kept
    for wanted in range(4):
        own = [number for number, (label, _) in enumerate(candidates) if label == wanted]
        best = sorted(own, key=lambda number: (-candidates[number][1], number))
        assert kept & set(own) == set(best[: len(kept & set(own))])


@given(candidates=CANDIDATES, share=st.floats(0.01, 1.0))
def test_classes_keep_the_same_fraction_up_to_rounding(candidates, share):
    labels = np.array([label for label, _ in candidates])
    num_kept = max(1, round(share * len(candidates)))
    kept = keep(BestFraction(torch.from_numpy(labels), num_kept), candidates)
    for label in range(4):
        exact = (labels == label).sum() * num_kept / len(labels)
        assert abs(sum(labels[number] == label for number in kept) - exact) < 1


def test_scores_are_the_probabilities_of_the_intended_class():
    images = torch.tensor([-1.0, 0.0, 0.5]).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    scores = intended_probability(Brightness(), images, torch.tensor([0, 1, 1]), num_classes=2)
    expected = 1 / (1 + torch.tensor([-2.0, 0.0, -1.0], dtype=torch.float64).exp())
    torch.testing.assert_close(scores, expected)


def test_a_classifier_of_other_classes_is_refused():
    with pytest.raises(ConfigError, match=r"`classifier` must have the pipeline's 3 classes.*got 2; train one"):
        intended_probability(Brightness(), torch.zeros(1, 3, 4, 4), torch.tensor([0]), num_classes=3)


@pytest.mark.parametrize(("num_images", "rate", "drawn"), [(10, 1.0, 10), (10, 0.2, 50), (1, 0.3, 3), (7, 0.99, 7)])
def test_as_many_are_drawn_as_the_rate_asks(num_images, rate, drawn):
    assert num_candidates(num_images, rate) == drawn


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.1])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ConfigError, match=r"`acceptance_rate` must be in 0\.\.1, 0 excluded, got"):
        num_candidates(10, rate)


def test_more_than_there_are_cannot_be_kept():
    with pytest.raises(ConfigError, match=r"`num_kept` must be in 1..2, the number of candidates, got 3"):
        BestFraction(torch.tensor([0, 1]), 3)
