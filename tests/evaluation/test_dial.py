"""Laws of the quality-diversity dial."""

import numpy as np
import pytest

from vqvae2.evaluation.dial import accept_at_rates


@pytest.fixture
def pool():
    generator = np.random.default_rng(0)
    return generator.random(200), generator.integers(0, 4, 200)


def test_every_rate_keeps_as_many_and_lower_rates_have_better_scores(pool):
    accepted = accept_at_rates(*pool, (1.0, 0.5, 0.2, 0.05))
    assert [len(entry.indices) for entry in accepted] == [10] * 4
    means = [entry.mean_score for entry in accepted]
    assert means == sorted(means)


def test_a_rate_of_one_keeps_the_first_whatever_their_scores(pool):
    (entry, _) = accept_at_rates(*pool, (1.0, 0.1))
    assert entry.indices.tolist() == list(range(20))


def test_a_rate_keeps_the_best_of_as_many_as_it_needs(pool):
    scores, _ = pool
    one_class = np.zeros(200, dtype=np.int64)
    for entry in accept_at_rates(scores, one_class, (0.5, 0.1)):
        drawn = round(20 / entry.acceptance_rate)
        best = np.sort(np.argsort(-scores[:drawn])[:20])
        assert entry.indices.tolist() == best.tolist()
        assert entry.mean_score == pytest.approx(scores[best].mean())


def test_classes_keep_their_shares(pool):
    scores, labels = pool
    for entry in accept_at_rates(scores, labels, (0.5, 0.25)):
        drawn = labels[: round(50 / entry.acceptance_rate)]
        shares = np.bincount(labels[entry.indices], minlength=4) - np.bincount(drawn, minlength=4) * 50 / len(drawn)
        assert np.abs(shares).max() < 1


def test_too_few_samples_for_a_rate_are_refused():
    with pytest.raises(ValueError, match=r"an acceptance rate of 0.05 leaves none of 10 samples.*at least 20"):
        accept_at_rates(np.ones(10), np.zeros(10, dtype=np.int64), (1.0, 0.05))
