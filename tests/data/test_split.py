"""Laws of the split by file name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.data import validation_mask
from vqvae2.errors import ConfigError, DataError

NAMES = [f"{index:04}.png" for index in range(2000)]
FRACTIONS = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)


@given(st.sets(st.text(min_size=1), min_size=2, max_size=12), FRACTIONS)
@settings(max_examples=200, deadline=None)
def test_no_side_is_ever_empty(stems, fraction):
    names = sorted(stem.replace("/", "_") for stem in stems)
    if len(set(names)) > 1:
        mask = validation_mask(names, fraction=fraction)
        assert mask.shape == (len(names),)
        assert mask.dtype == bool
        assert 0 < mask.sum() < len(names)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_the_fraction_is_met_roughly(fraction):
    # Of 2,000 draws, the share has a standard deviation of at most 0.0112.
    assert abs(validation_mask(NAMES, fraction=fraction).mean() - fraction) < 4 * 0.0112


def test_a_moved_image_stays_on_its_side():
    flat = validation_mask(NAMES, fraction=0.2)
    moved = validation_mask([f"some/where/{name}" for name in NAMES], fraction=0.2)
    assert np.array_equal(flat, moved)


def test_an_image_stays_on_its_side_when_others_come():
    few, many = validation_mask(NAMES[::7], fraction=0.2), validation_mask(NAMES, fraction=0.2)
    assert np.array_equal(few, many[::7])


def test_the_order_of_the_names_does_not_count():
    mask = validation_mask(NAMES, fraction=0.2)
    assert np.array_equal(validation_mask(NAMES[::-1], fraction=0.2), mask[::-1])


def test_a_larger_fraction_only_adds_images():
    smaller, larger = validation_mask(NAMES, fraction=0.2), validation_mask(NAMES, fraction=0.4)
    assert larger[smaller].all()


@pytest.mark.parametrize("pattern", [r"^\d+", r"^(\d+)_", r"(?:id)?(\d+)_(\d+)"])
def test_images_of_a_group_stay_together(pattern):
    names = [f"{person}_{picture}.png" for person in range(50) for picture in range(4)]
    sides = validation_mask(names, fraction=0.3, group_pattern=pattern).reshape(50, 4)
    assert (sides == sides[:, :1]).all()
    assert sides.any()
    assert not sides.all()


def test_the_group_is_searched_in_the_whole_path():
    names = [f"object{number}/{view}.png" for number in range(20) for view in range(5)]
    sides = validation_mask(names, fraction=0.5, group_pattern=r"^object\d+").reshape(20, 5)
    assert (sides == sides[:, :1]).all()


def test_names_without_a_match_are_groups_of_their_own():
    names = [f"{letter}.png" for letter in "abcdefghijklmnop"]
    pattern = validation_mask(names, fraction=0.5, group_pattern=r"^\d+")
    assert np.array_equal(pattern, validation_mask(names, fraction=0.5))


def test_a_group_that_took_no_part_in_the_match_counts_as_no_match():
    names = [f"{letter}.png" for letter in "abcdefghijklmnop"]
    pattern = validation_mask(names, fraction=0.5, group_pattern=r"(\d)?\.png")
    assert np.array_equal(pattern, validation_mask(names, fraction=0.5))


@pytest.mark.parametrize("fraction", [-0.1, 0.0, 1.0, 1.5, float("nan")])
def test_a_fraction_outside_zero_to_one_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"`validation_fraction` must lie between 0 and 1, got"):
        validation_mask(NAMES, fraction=fraction)


def test_a_broken_pattern_is_refused():
    with pytest.raises(ConfigError, match=r"`group_pattern` must be a regular expression, got '\('"):
        validation_mask(NAMES, fraction=0.1, group_pattern="(")


@pytest.mark.parametrize(
    ("names", "pattern"),
    [(["1.png"], None), (["1a.png", "1b.png"], r"^\d+"), (["a/1.png", "b/1.png"], None), ([], None)],
)
def test_one_group_cannot_be_split(names, pattern):
    with pytest.raises(DataError, match=f"at least two file names .* for {len(names)} images; folders do not count"):
        validation_mask(names, fraction=0.1, group_pattern=pattern)
