"""Laws of sampling."""

import numpy as np
import pytest
import torch

from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.sampling import choose_by_drawing, draw_labels, restrict_logits, sample_codes, uniforms
from vqvae2.walk import walk

SHAPES = ((2, 3), (4, 6))


@pytest.fixture
def priors(make_prior):
    return [make_prior(0, num_embeddings=6, num_classes=2), make_prior(1, num_classes=2)]


def recompute_prefix(prior, randomness, config, size, above, labels):
    """Sampling without any cache: one whole forward pass a code. Plainly right, and the reference for `walk`."""
    choose = choose_by_drawing(randomness, config)
    codes = torch.zeros(randomness.shape[0], *size, dtype=torch.int64)
    for position in range(size[0] * size[1]):
        logits = prior(codes, above=above, labels=labels).flatten(1, 2)[:, position]
        codes.view(len(codes), -1)[:, position] = choose(position, logits)
    return codes


@pytest.mark.parametrize(
    "config", [SamplingConfig(), SamplingConfig(temperature=0.7, top_k=3), SamplingConfig(top_p=0.8)]
)
def test_the_walk_draws_what_recomputing_the_prefix_draws(priors, config):
    labels = torch.tensor([0, 1, 2, 0])
    codes = sample_codes(priors, SHAPES, images=range(4), seed=5, labels=labels, config=config)
    with torch.inference_mode():
        for level, prior in enumerate(priors):
            randomness = uniforms(range(4), seed=5, level=level, count=codes[level][0].numel())
            above = list(codes.maps[:level])
            expected = recompute_prefix(prior, randomness, config, SHAPES[level], above, labels)
            assert torch.equal(codes[level], expected)


def test_an_image_does_not_depend_on_its_batch(priors):
    together = sample_codes(priors, SHAPES, images=range(7), seed=1)
    for images in ([0], [3, 4], [6, 2]):
        apart = sample_codes(priors, SHAPES, images=images, seed=1)
        assert all(torch.equal(a[images], b) for a, b in zip(together, apart, strict=True))


def test_seeds_and_images_differ(priors):
    first = sample_codes(priors, SHAPES, images=range(4), seed=1)
    other = sample_codes(priors, SHAPES, images=range(4), seed=2)
    assert not torch.equal(first[1], other[1])
    assert len({tuple(codes.flatten().tolist()) for codes in first[1]}) == 4


def test_drawn_codes_have_the_prior_s_frequencies(make_prior):
    prior = make_prior(0)
    count = 4000
    codes = sample_codes([prior], [(1, 1)], images=range(count), seed=0)
    with torch.inference_mode():
        expected = prior(torch.zeros(1, 1, 1, dtype=torch.int64)).softmax(-1).flatten()
    observed = torch.bincount(codes[0].flatten(), minlength=5) / count
    assert (observed - expected).abs().max() < 4 * 0.5 / count**0.5  # four standard errors


def test_temperature_zero_takes_the_likeliest_code(make_prior):
    prior = make_prior(0)
    greedy = sample_codes([prior], [(3, 3)], images=range(2), seed=0, config=SamplingConfig(temperature=0.0))
    expected = walk(prior, lambda position, logits: logits.argmax(1), batch_size=2, size=(3, 3))
    assert torch.equal(greedy[0], expected)


def test_top_k_keeps_the_k_likeliest():
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    kept = restrict_logits(logits, SamplingConfig(top_k=2)).isfinite()
    assert kept.tolist() == [[False, True, False, True]]


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, [0]), (0.5, [0]), (0.51, [0, 1]), (0.8, [0, 1]), (1.0, [0, 1, 2])])
def test_top_p_keeps_the_fewest_that_reach_the_sum(top_p, kept):
    logits = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
    remaining = restrict_logits(logits, SamplingConfig(top_p=top_p)).isfinite()[0].nonzero().flatten()
    assert remaining.tolist() == kept


def test_temperature_divides_the_logits():
    logits = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(restrict_logits(logits, SamplingConfig(temperature=0.5)), logits * 2)


def test_classes_are_as_frequent_as_in_training():
    labels = draw_labels([1, 0, 3], images=range(2000), seed=0)
    frequencies = np.bincount(labels, minlength=3) / 2000
    np.testing.assert_allclose(frequencies, [0.25, 0.0, 0.75], atol=0.05)


def test_progress_counts_every_code(priors):
    seen = []
    sample_codes(priors, SHAPES, images=range(2), seed=0, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 30) for done in range(1, 31)]


@pytest.mark.parametrize(
    ("labels", "config", "message"),
    [
        (torch.tensor([0, 3]), None, r"`labels` must be in 0\.\.1, or 2 for no class, got 0\.\.3"),
        (torch.tensor([0]), None, r"`labels` must be of shape \(2,\)"),
        (None, SamplingConfig(top_k=6), r"`top_k` must be in 0\.\.5 \(the codebook size\), got 6"),
    ],
)
def test_what_does_not_fit_the_priors_is_refused(priors, labels, config, message):
    with pytest.raises(ConfigError, match=message):
        sample_codes(priors, SHAPES, images=range(2), seed=0, labels=labels, config=config)


@pytest.mark.parametrize(("seed", "images"), [(-1, range(2)), (0, [-5, 0])])
def test_negative_seeds_and_images_are_refused(make_prior, seed, images):
    with pytest.raises(ConfigError, match="`seed` and the images' numbers must be at least 0"):
        sample_codes([make_prior(0)], [(2, 2)], images=images, seed=seed)


def test_top_k_keeps_no_more_than_k_when_codes_are_equally_likely():
    assert restrict_logits(torch.zeros(2, 5), SamplingConfig(top_k=1)).isfinite().sum(dim=1).tolist() == [1, 1]


def test_a_class_for_priors_without_classes_is_refused(make_prior):
    with pytest.raises(ConfigError, match="without classes"):
        sample_codes([make_prior(0)], [(2, 2)], images=[0], seed=0, labels=torch.tensor([0]))
