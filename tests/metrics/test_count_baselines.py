"""Baselines from counts equal what a hand calculates."""

import math

import numpy as np
import pytest

from vqvae2.data import CodeStore
from vqvae2.metrics.count_baselines import given_above_nats_per_code, measure_baselines, unigram_nats_per_code


def given_above(train, held_out, train_above, held_out_above, size):
    return given_above_nats_per_code(
        train, held_out, train_above=train_above, held_out_above=held_out_above, num_embeddings=size
    )


def test_the_unigram_is_the_smoothed_frequency():
    train, held_out = np.array([0, 0, 0, 1]), np.array([0, 1, 2])
    # (3 + 1) / (4 + 3), (1 + 1) / 7, (0 + 1) / 7
    expected = -(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3
    assert unigram_nats_per_code(train, held_out, num_embeddings=3) == pytest.approx(expected)


def test_the_table_of_codes_under_codes_is_smoothed_towards_the_unigram():
    # Two training images: code 0 above, with 0 0 0 1 under it; code 1 above, with 1 1 1 1 under it. K = 2.
    train, train_above = np.array([[[0, 0], [0, 1]], [[1, 1], [1, 1]]]), np.array([[[0]], [[1]]])
    # Unigram: (3 + 1) / (8 + 2) and (5 + 1) / 10. Under 0: (3 + 2 * 0.4) / (4 + 2); under 1: (4 + 2 * 0.6) / (4 + 2).
    held_out, held_out_above = np.array([[[0, 1]], [[0, 1]]]), np.array([[[0]], [[1]]])
    expected = -sum(math.log(p / 6) for p in (3.8, 1 + 2 * 0.6, 0 + 2 * 0.4, 5.2)) / 4
    assert given_above(train, held_out, train_above, held_out_above, 2) == pytest.approx(expected)


@pytest.mark.parametrize("above", [1, 7])  # between the codes that were seen above, and beyond them
def test_under_a_code_that_was_never_seen_the_unigram_is_left(above):
    train, held_out = np.array([[[0, 1]], [[2, 2]]]), np.array([[[2, 1]]])
    got = given_above(train, held_out, np.array([[[0]], [[3]]]), np.array([[[above]]]), 4)
    assert got == pytest.approx(unigram_nats_per_code(train, held_out, num_embeddings=4))


def test_probabilities_sum_to_one():
    rng = np.random.default_rng(0)
    train, train_above = rng.integers(0, 5, (20, 4, 4)), rng.integers(0, 3, (20, 2, 2))
    for above in range(3):
        codes = [np.full((1, 1, 1), code) for code in range(5)]
        costs = [given_above(train, code, train_above, np.full((1, 1, 1), above), 5) for code in codes]
        assert sum(math.exp(-cost) for cost in costs) == pytest.approx(1.0)


def test_the_largest_codebooks_do_not_need_a_table_of_all_pairs():
    codes = np.array([[[65535]], [[3]]], dtype=np.uint16)
    assert math.isfinite(given_above(codes, codes, codes, codes, 65536))


def test_a_store_is_counted_on_its_training_side_and_measured_on_the_other():
    is_validation = np.array([False, False, True])
    top = np.array([[[0]], [[1]], [[0]]], dtype=np.uint8)
    mid = np.array([[[0, 1]], [[1, 1]], [[1, 1]]], dtype=np.uint8)
    bottom = mid.repeat(2, axis=2)
    images = {"names": tuple("abc"), "labels": np.full(3, -1), "classes": (), "is_validation": is_validation}
    store = CodeStore(
        maps=(top[:, None], mid[:, None], bottom[:, None]), num_embeddings=(2, 2, 2), fingerprint="abc", **images
    )
    baselines = measure_baselines(store)
    assert [level.given_above_nats_per_code is None for level in baselines] == [True, False, False]
    for level, own, above in ((1, mid, top), (2, bottom, mid)):  # each level is under the one just above it
        expected = given_above(own[:2], own[2:], above[:2], above[2:], 2)
        assert baselines[level].given_above_nats_per_code == expected
    assert baselines[0].unigram_nats_per_code == pytest.approx(math.log(2))
    assert baselines[1].unigram_nats_per_code == pytest.approx(-math.log(4 / 6))
