"""Integer probabilities: the same as plain whole numbers give, and close to those of the logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqvae2.codec.entropy import GUARD_STEPS, integer_counts, round_logits, rounding_margins

LOGITS = st.lists(st.floats(-40, 40, width=32), min_size=2, max_size=30)
HERE = np.zeros(1, dtype=np.int64)


@given(LOGITS, st.integers(0, 255), st.integers(-1000, 1000))
def test_counts_are_those_of_whole_numbers_and_a_constant_does_not_matter(reference, logits, offset, constant):
    steps = round_logits(np.array(logits, dtype=np.float64), np.array([offset]))
    assert integer_counts(steps + constant).tolist() == reference.counts(logits, offset)


def test_the_largest_codebook_fits():
    steps = np.random.default_rng(0).integers(-3000, 3000, (2, 65_536))
    counts = integer_counts(steps)
    assert counts.min() >= 1
    assert (counts.sum(axis=-1) == 2**24).all()


def test_a_batch_is_counted_as_each_of_it_alone():
    logits = np.random.default_rng(0).normal(size=(3, 4, 50)) * 5
    offsets = np.array([0, 7, 200])
    together = integer_counts(round_logits(logits, offsets[:, None, None]))
    for image, position in np.ndindex(3, 4):
        alone = integer_counts(round_logits(logits[image, position], offsets[image : image + 1]))
        assert np.array_equal(together[image, position], alone)


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0, 12.0])
def test_rounding_costs_less_than_a_five_hundredth(spread):
    logits = np.random.default_rng(1).normal(size=(200, 512)) * spread
    exact = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    counts = integer_counts(round_logits(logits, HERE))
    entropy = -(np.exp(exact) * exact).sum()
    cost = -(np.exp(exact) * np.log(counts / 2**24)).sum()
    assert entropy <= cost < 1.002 * entropy


@given(st.integers(-1000, 1000), st.floats(-0.49, 0.49), st.integers(0, 255))
def test_the_margin_is_the_distance_to_where_rounding_changes(step, within, offset):
    logits = np.array([-offset / 256 / 64, (step + within - offset / 256) / 64])
    assert round_logits(logits, np.array([offset]))[1] == step
    margin = rounding_margins(logits, np.array([offset]))
    assert margin == pytest.approx(0.5 - abs(within), abs=1e-9)


def test_a_logit_on_which_no_count_depends_has_no_margin():
    at_a_boundary = np.array([0.0, -1200.5 / 64])
    assert rounding_margins(at_a_boundary, HERE) == 0.5
    assert rounding_margins(at_a_boundary + np.array([0.0, 91 / 64]), HERE) == 0.0  # from 1110 steps below to 1109
    assert np.array_equal(integer_counts(np.array([0, -1110])), integer_counts(np.array([0, -1111])))


def test_what_lies_beyond_the_guard_is_rounded_alike_by_machines_that_differ_less():
    generator = np.random.default_rng(2)
    logits = (generator.integers(-500, 500, 10_000) + 0.5) / 64 + generator.choice((-1, 1), 10_000) * 1.1e-10
    assert rounding_margins(logits, HERE) > GUARD_STEPS
    assert np.array_equal(
        round_logits(logits + generator.uniform(-1e-11, 1e-11, 10_000), HERE), round_logits(logits, HERE)
    )


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 5000.0])
def test_broken_logits_are_refused(broken):
    for measure in (round_logits, rounding_margins):
        with pytest.raises(ValueError, match="`logits` must be finite"):
            measure(np.array([0.0, broken]), HERE)
