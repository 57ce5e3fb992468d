"""A time budget becomes steps."""

import pytest

from vqvae2.training.budget import training_seconds, training_shares


@pytest.mark.parametrize("num_levels", [1, 2, 3, 4])
def test_the_trainings_leave_some_time_for_the_rest(num_levels):
    tokenizer, priors = training_shares(num_levels)
    assert len(priors) == num_levels
    assert list(priors) == sorted(priors)
    assert 0.8 < tokenizer + sum(priors) < 0.95


def test_time_that_is_spent_is_not_given_away_again():
    assert training_seconds(10.0, 0.5, {}) == 300.0
    assert training_seconds(10.0, 0.5, {"prepare images": 100.0}) == 250.0


def test_a_training_always_gets_some_time():
    assert training_seconds(10.0, 0.5, {"prepare images": 1e6}) == 75.0


def test_no_budget_gives_no_seconds():
    assert training_seconds(0.0, 0.5, {}) == 0.0
