"""Laws of sampling."""

import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.sampling.sample import sample_codes
from vqvae2.sampling.walk import walk

SHAPES = ((2, 3), (4, 6))


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(),
        SamplingConfig(temperature=(0.7,), top_k=(3,)),
        SamplingConfig(temperature=(0.7, 1.3), top_k=(0, 2), top_p=(0.8,)),
        SamplingConfig(guidance_scale=2.5, top_p=(0.9, 0.5)),
        SamplingConfig(guidance_scale=0.0),
    ],
)
def test_the_walk_draws_what_recomputing_the_prefix_draws(priors, recompute_prefix, config):
    labels = torch.tensor([0, 1, 2, 0])
    codes = sample_codes(priors, SHAPES, 4, DrawRequest(seed=5, label=labels, sampling=config))
    known = Codes(tuple(torch.zeros_like(level) for level in codes))
    expected = recompute_prefix(priors, known, [level == 0 for level in known], range(4), 5, labels, config)
    assert all(torch.equal(a, b) for a, b in zip(codes, expected, strict=True))


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_an_image_does_not_depend_on_its_batch(priors, scale):
    labels, config = torch.tensor([0, 1, 2, 0, 1, 2, 1]), SamplingConfig(guidance_scale=scale)
    together = sample_codes(priors, SHAPES, 7, DrawRequest(seed=1, label=labels, sampling=config))
    for images in (slice(1), slice(3, 5), slice(6, 7)):
        request = DrawRequest(seed=1, first_image=images.start or 0, label=labels[images], sampling=config)
        apart = sample_codes(priors, SHAPES, len(labels[images]), request)
        assert all(torch.equal(a[images], b) for a, b in zip(together, apart, strict=True))


def test_seeds_and_images_differ(priors):
    first = sample_codes(priors, SHAPES, 4, DrawRequest(seed=1))
    other = sample_codes(priors, SHAPES, 4, DrawRequest(seed=2))
    assert not torch.equal(first[1], other[1])
    assert len({tuple(codes.flatten().tolist()) for codes in first[1]}) == 4


def test_drawn_codes_have_the_prior_s_frequencies(make_prior):
    prior = make_prior(0)
    count = 4000
    codes = sample_codes([prior], [(1, 1)], count)
    with torch.inference_mode():
        expected = prior(torch.zeros(1, 1, 1, dtype=torch.int64)).softmax(-1).flatten()
    observed = torch.bincount(codes[0].flatten(), minlength=5) / count
    assert (observed - expected).abs().max() < 4 * 0.5 / count**0.5  # four standard errors


def test_each_level_has_its_own_settings(priors):
    plain = sample_codes(priors, SHAPES, 3)
    config = SamplingConfig(temperature=(1.0, 0.0))
    mixed = sample_codes(priors, SHAPES, 3, DrawRequest(sampling=config))
    greedy = walk(priors[1], lambda _, logits: logits.argmax(2), batch_size=3, size=SHAPES[1], above=[plain[0]])
    assert torch.equal(mixed[0], plain[0])
    assert torch.equal(mixed[1], greedy)
    assert not torch.equal(mixed[1], plain[1])


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_progress_counts_every_code_once(priors, scale):
    seen = []
    request = DrawRequest(label=torch.tensor([0, 1]), sampling=SamplingConfig(guidance_scale=scale))
    sample_codes(priors, SHAPES, 2, request, hooks=Hooks(on_progress=lambda *counts: seen.append(counts)))
    assert [total for _, total in seen] == [60] * len(seen)
    counts = [done for done, _ in seen]
    assert counts == sorted(set(counts))
    assert {12, 60} <= set(counts)  # the end of each level


@pytest.mark.parametrize(
    ("labels", "config", "message"),
    [
        (torch.tensor([0, 3]), SamplingConfig(), r"`label` must be in 0\.\.1, or 2 for no class, got 0\.\.3"),
        (torch.tensor([0]), SamplingConfig(), r"`label` must be of shape \(2,\)"),
        (
            None,
            SamplingConfig(top_k=(6,)),
            r"`top_k` must be in 0\.\.5 at the bottom level \(its codebook size\), got 6",
        ),
        (None, SamplingConfig(top_k=(7, 1)), r"`top_k` must be in 0\.\.6 at the top level .*, got 7"),
        (None, SamplingConfig(top_p=(0.9, 1.0, 1.0)), "`top_p` must hold at most 2 values, one per level, got 3"),
        (None, SamplingConfig(guidance_scale=2.0), "`guidance_scale` 2 needs a class; give one, or leave it at 1"),
    ],
)
def test_what_does_not_fit_the_priors_is_refused(priors, labels, config, message):
    with pytest.raises(ConfigError, match=message):
        sample_codes(priors, SHAPES, 2, DrawRequest(label=labels, sampling=config))


@pytest.mark.parametrize(("field", "value"), [("seed", -1), ("first_image", -5), ("num_variants", 0)])
def test_a_request_is_of_numbers_that_exist(field, value):
    with pytest.raises(ConfigError, match=rf"`{field}` .*got {value}"):
        DrawRequest(**{field: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_variants": 2}, r"`num_variants` .*got 2"),
        ({"label": 0}, "`label` must be None, since these priors were trained without classes"),
        ({"sampling": SamplingConfig(guidance_scale=3.0)}, "`guidance_scale` must be 1 .* without classes, got 3"),
    ],
)
def test_variants_of_new_images_and_classes_for_priors_without_them_are_refused(make_prior, options, message):
    with pytest.raises(ConfigError, match=message):
        sample_codes([make_prior(0)], [(2, 2)], 1, DrawRequest(**options))
