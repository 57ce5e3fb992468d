"""Likelihoods in their units equal closed forms."""

import math

import numpy as np
import pytest
import torch

from vqvae2.data import CodeStore
from vqvae2.evaluation.likelihood import bits_per_image, measure_likelihoods
from vqvae2.training.prior import load_codes

RNG = np.random.default_rng(0)
SHAPES, SIZES = ((2, 3), (4, 6)), (6, 5)


@pytest.fixture
def codes():
    """Eight training and four validation images, without classes."""
    maps = tuple(
        RNG.integers(0, size, (12, *shape)).astype(np.uint8) for shape, size in zip(SHAPES, SIZES, strict=True)
    )
    names = tuple(map(str, range(12)))
    images = {"names": names, "labels": np.full(12, -1), "classes": (), "is_validation": np.arange(12) % 3 == 0}
    return CodeStore(maps=tuple(level[:, None] for level in maps), num_embeddings=SIZES, fingerprint="abc", **images)


@pytest.mark.parametrize("is_guessing", [True, False])
def test_a_prior_that_only_knows_frequencies_costs_what_they_say(codes, make_prior, runtime, is_guessing):
    priors = [make_prior(0, num_embeddings=6), make_prior(1)]
    logits = [torch.randn(size, dtype=torch.float64) * (not is_guessing) for size in SIZES]
    for prior, bias in zip(priors, logits, strict=True):
        torch.nn.init.zeros_(prior.to_logits.weight)
        prior.to_logits.bias.data = bias
    measured = measure_likelihoods(priors, codes, runtime=runtime)
    for level, bias, maps, size in zip(measured, logits, codes.maps, SIZES, strict=True):
        cost = -bias.log_softmax(0)
        for side, got in (("validation", level.nll_nats_per_code), ("train", level.train_nll_nats_per_code)):
            read = torch.from_numpy(maps[codes.indices(side)].astype(np.int64))
            assert got == pytest.approx(cost[read].mean().item(), rel=1e-6)
        assert level.train_nll_bits_per_code == level.train_nll_nats_per_code / math.log(2.0)
        assert level.gap_nats_per_code == level.nll_nats_per_code - level.train_nll_nats_per_code
        assert level.uniform_bits_per_code == pytest.approx(math.log2(size))
        assert not is_guessing or level.nll_bits_per_code == pytest.approx(math.log2(size))


def test_bits_per_image_add_up_over_levels():
    # Guessing costs log2 K a code: 64 codes of 8 bits and 256 of 9.
    assert bits_per_image([math.log(256), math.log(512)], [(8, 8), (16, 16)]) == pytest.approx(64 * 8 + 256 * 9)


def test_a_prior_that_knows_classes_is_asked_for_none_where_images_have_none(codes):
    assert load_codes(codes, np.arange(3), levels=1, num_classes=7).labels.tolist() == [7, 7, 7]
