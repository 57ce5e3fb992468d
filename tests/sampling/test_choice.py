"""Laws of drawing one code."""

import numpy as np
import pytest
import torch

from vqvae2.config import LevelSampling
from vqvae2.sampling.choice import draw_labels, guide, restrict_logits, uniforms


def test_top_k_keeps_the_k_likeliest():
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    kept = restrict_logits(logits, LevelSampling(top_k=2)).isfinite()
    assert kept.tolist() == [[False, True, False, True]]
    equally_likely = restrict_logits(torch.zeros(2, 5), LevelSampling(top_k=1)).isfinite()
    assert equally_likely.sum(dim=1).tolist() == [1, 1]


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, [0]), (0.5, [0]), (0.51, [0, 1]), (0.8, [0, 1]), (1.0, [0, 1, 2])])
def test_top_p_keeps_the_fewest_that_reach_the_sum(top_p, kept):
    logits = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
    remaining = restrict_logits(logits, LevelSampling(top_p=top_p)).isfinite()[0].nonzero().flatten()
    assert remaining.tolist() == kept


def test_temperature_divides_the_logits():
    logits = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(restrict_logits(logits, LevelSampling(temperature=0.5)), logits * 2)


def test_classes_are_as_frequent_as_in_training():
    labels = draw_labels([1, 0, 3], images=range(2000), seed=0)
    frequencies = np.bincount(labels, minlength=3) / 2000
    np.testing.assert_allclose(frequencies, [0.25, 0.0, 0.75], atol=0.05)


def test_random_numbers_belong_to_an_image_a_level_and_a_seed():
    numbers = uniforms([3, 5], seed=1, level=0, count=4)
    assert torch.equal(uniforms([5], seed=1, level=0, count=6)[:, :4], numbers[1:])
    others = [uniforms([3], seed=2, level=0, count=4), uniforms([3], seed=1, level=1, count=4)]
    assert not any(torch.equal(other, numbers[:1]) for other in others)


def test_guidance_goes_from_the_logits_without_a_class_through_those_with_one():
    seen = []

    def choose(positions, logits):
        seen.append(logits)
        return logits.argmax(2)

    # A position of two images, with and without a class.
    logits = torch.tensor([[[1.0, 0.0]], [[3.0, 2.0]], [[0.0, 1.0]], [[3.0, 3.0]]])
    assert guide(choose, 3.0)(torch.tensor([0]), logits).tolist() == [[0], [0], [0], [0]]
    assert seen[0].tolist() == [[[3.0, -2.0]], [[3.0, 0.0]]]
