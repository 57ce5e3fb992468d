"""What happens at which step, and which share of a run's time each training gets."""

import pytest

from vqvae2.config import TrainingConfig
from vqvae2.training.schedule import learning_rate, training_seconds, training_shares, validation_steps


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_learning_rate_rises_and_then_falls_to_nothing_or_stays(schedule):
    config = TrainingConfig(steps=100, learning_rate=1.0, warmup_fraction=0.1, schedule=schedule)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9] == max(rates) == 1.0
    if schedule == "constant":
        assert set(rates[9:]) == {1.0}
    else:
        assert rates[9:] == sorted(rates[9:], reverse=True)
        assert 0.0 < rates[-1] < 0.001


@pytest.mark.parametrize(
    ("steps", "num_items", "most", "expected"),
    [
        (12, 32, 20, {4, 8, 12}),
        (12, 32, 2, {8, 12}),
        (12, 30, 20, {4, 8, 12}),  # the third epoch ends within the twelfth batch
        (10, 3, 5, {3, 5, 7, 9, 10}),
        (5, 1000, 20, {5}),  # less than an epoch
    ],
)
def test_validations_end_epochs(steps, num_items, most, expected):
    config = TrainingConfig(steps=steps, batch_size=8, max_validations=most)
    assert validation_steps(config, num_items=num_items) == expected


@pytest.mark.parametrize("num_levels", [1, 2, 3, 4])
@pytest.mark.parametrize("sharp_decoder", [False, True])
def test_the_trainings_leave_some_time_for_the_rest(num_levels, sharp_decoder):
    shares = training_shares(num_levels, sharp_decoder=sharp_decoder)
    assert len(shares.priors) == num_levels
    assert list(shares.priors) == sorted(shares.priors)
    assert sum(shares.priors) == pytest.approx(shares.tokenizer)
    assert shares.decoder == shares.tokenizer
    assert shares.tokenizer + sum(shares.priors) + sharp_decoder * shares.decoder == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("minutes", "spent", "seconds"),
    [
        (10.0, {}, 300.0),
        (10.0, {"prepare images": 100.0}, 250.0),  # time that is spent is not given away again
        (10.0, {"prepare images": 1e6}, 75.0),  # but a training always gets some
        (0.0, {}, 0.0),
    ],
)
def test_a_training_gets_its_share_of_what_is_left(minutes, spent, seconds):
    assert training_seconds(minutes, 0.5, spent) == seconds
