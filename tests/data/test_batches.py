"""Laws of the order in which images are read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.data import ReadingUnits, ShuffledBatches, evenly_spread, ordered_batches

SMALL = st.integers(1, 12)


def test_another_epoch_and_another_seed_have_another_order_and_the_same_one_comes_again():
    indices = np.arange(50)
    sampler, other = (ShuffledBatches(indices, batch_size=50, seed=seed, num_steps=2) for seed in (0, 1))
    first, second = sampler
    assert list(sampler) == [first, second]
    assert first != second
    assert next(iter(other)) not in (first, second)
    assert np.array_equal(indices, np.arange(50))


@pytest.mark.parametrize("indices", [[], [5], [3, 1, 2], list(range(7))])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_ordered_batches_keep_the_order_and_lose_nothing(indices, batch_size):
    batches = list(ordered_batches(indices, batch_size))
    assert [index for batch in batches for index in batch] == indices
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert all(0 < len(batch) <= batch_size for batch in batches)


@pytest.mark.parametrize(("count", "most", "kept"), [(0, 3, 0), (3, 3, 3), (4, 3, 2), (9, 3, 3), (10, 3, 3), (5, 9, 5)])
def test_evenly_spread_numbers_are_at_most_as_many_as_asked(count, most, kept):
    spread = evenly_spread(np.arange(count), most=most)
    assert len(spread) == kept
    assert len(set(np.diff(spread))) <= 1


UNITS = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def units_of(sizes: list[int], window: int) -> ReadingUnits:
    return ReadingUnits(np.repeat(np.arange(len(sizes)), sizes), window)


@given(UNITS, st.integers(1, 4), SMALL, st.integers(0, 5), st.data())
@settings(max_examples=50, deadline=None)
def test_every_epoch_holds_every_image_once_and_training_resumes_at_any_step(sizes, window, batch_size, seed, data):
    everything = np.arange(sum(sizes))
    chosen = np.sort(data.draw(st.lists(st.sampled_from(everything.tolist()), unique=True, min_size=1)))
    units = data.draw(st.sampled_from([None, units_of(sizes, window)]))
    arguments = {"batch_size": batch_size, "seed": seed, "num_steps": 3 * len(chosen), "units": units}
    batches = list(ShuffledBatches(chosen, **arguments))
    assert all(len(batch) == batch_size for batch in batches)
    epochs = np.concatenate(batches).reshape(-1, len(chosen))
    assert (np.sort(epochs, axis=1) == chosen).all()
    start = data.draw(st.integers(0, 3 * len(chosen)))
    rest = ShuffledBatches(chosen, **arguments, start_step=start)
    assert list(rest) == batches[start:]
    assert len(rest) == len(batches) - start


@given(UNITS, st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_no_more_than_a_windows_units_are_read_at_a_time(sizes, window, seed):
    units = units_of(sizes, window)
    count = sum(sizes)
    (epoch,) = ShuffledBatches(np.arange(count), batch_size=count, seed=seed, num_steps=1, units=units)
    order = units.numbers[epoch]
    firsts = np.unique(order, return_index=True)[1]
    lasts = count - 1 - np.unique(order[::-1], return_index=True)[1]
    for place in range(count):  # a unit is open from its first image to its last
        assert ((firsts <= place) & (place <= lasts)).sum() <= window


def test_units_come_in_another_order_each_epoch_and_are_mixed_within_a_window():
    units = units_of([10] * 6, 2)
    first, second = ShuffledBatches(np.arange(60), batch_size=60, seed=0, num_steps=2, units=units)
    assert first != second
    assert len(set(units.numbers[first[:20]])) == 2
    assert np.count_nonzero(np.diff(units.numbers[first[:20]])) > 3
    assert {*units.numbers[first[:20]]} != {*units.numbers[second[:20]]}
