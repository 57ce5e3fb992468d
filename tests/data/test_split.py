"""Laws of the split by file name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.config import ImageConfig
from vqvae2.data import validation_mask
from vqvae2.errors import DataError

NAMES = [f"{index:04}.png" for index in range(2000)]
LETTERS = [f"{letter}.png" for letter in "abcdefghijklmnop"]
FRACTIONS = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)


def split(names, fraction, group_pattern=None):
    return validation_mask(names, ImageConfig(validation_fraction=fraction, group_pattern=group_pattern))


@given(st.sets(st.text(min_size=1), min_size=2, max_size=12), FRACTIONS)
@settings(max_examples=60, deadline=None)
def test_no_side_is_ever_empty(stems, fraction):
    names = sorted(stem.replace("/", "_") for stem in stems)
    if len(set(names)) > 1:
        mask = split(names, fraction)
        assert (mask.shape, mask.dtype) == ((len(names),), bool)
        assert 0 < mask.sum() < len(names)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_the_fraction_is_met_roughly(fraction):
    # Of 2,000 draws, the share has a standard deviation of at most 0.0112.
    assert abs(split(NAMES, fraction).mean() - fraction) < 4 * 0.0112


def test_an_image_stays_on_its_side_when_it_moves_and_others_come_or_go():
    mask = split(NAMES, 0.2)
    assert np.array_equal(split([f"some/where/{name}" for name in NAMES], 0.2), mask)
    assert np.array_equal(split(NAMES[::7], 0.2), mask[::7])
    assert np.array_equal(split(NAMES[::-1], 0.2), mask[::-1])
    assert split(NAMES, 0.4)[mask].all()  # a larger share only adds


@pytest.mark.parametrize("pattern", [r"^\d+", r"^(\d+)_", r"(?:id)?(\d+)_(\d+)", r"^object\d+"])
def test_images_of_a_group_stay_together(pattern):
    form = "object{}/{}.png" if pattern.startswith("^o") else "{}_{}.png"  # it is searched in the whole path
    names = [form.format(person, picture) for person in range(50) for picture in range(4)]
    sides = split(names, 0.3, pattern).reshape(50, 4)
    assert (sides == sides[:, :1]).all()
    assert sides.any()
    assert not sides.all()


@pytest.mark.parametrize("pattern", [r"^\d+", r"(z)?.*"])
def test_names_without_a_match_or_a_matched_group_are_groups_of_their_own(pattern):
    mask = split(LETTERS, 0.5, pattern)
    assert np.array_equal(mask, split(LETTERS, 0.5))


@pytest.mark.parametrize(
    ("names", "pattern"), [(["a.png"], None), (["a/1.png", "b/1.png"], None), (LETTERS, ".png"), ([], None)]
)
def test_a_single_group_cannot_be_split(names, pattern):
    with pytest.raises(DataError, match=f"at least two .* got [01] for {len(names)} images"):
        split(names, 0.5, pattern)
