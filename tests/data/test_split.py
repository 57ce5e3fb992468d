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


STEMS = st.one_of(
    st.sampled_from(["left", "right", "1", "2"]), st.integers(0, 99).map(str), st.text("ab", min_size=1, max_size=3)
)
PATHS = st.tuples(st.lists(STEMS, max_size=3), STEMS).map(lambda parts: "/".join([*parts[0], f"{parts[1]}.png"]))
NAMINGS = st.one_of(
    st.sets(PATHS, min_size=2, max_size=60).map(sorted),
    st.integers(2, 300).map(lambda count: [f"{i // 2}/{'left' if i % 2 else 'right'}.png" for i in range(count)]),
    st.tuples(st.integers(1, 40), st.integers(2, 40)).map(
        lambda counts: [f"{folder}/{image:03}.png" for folder in range(counts[0]) for image in range(counts[1])]
    ),
)
"""File names that repeat across folders, in each or by chance, and some that do not."""


def split(names, fraction, group_pattern=None, **options):
    return validation_mask(names, ImageConfig(validation_fraction=fraction, group_pattern=group_pattern), **options)


@given(st.sets(st.text(min_size=1), min_size=2, max_size=12), FRACTIONS)
@settings(max_examples=60, deadline=None)
def test_no_side_is_ever_empty(stems, fraction):
    names = sorted(stem.replace("/", "_") for stem in stems)
    if len(set(names)) > 1:
        mask = split(names, fraction)
        assert (mask.shape, mask.dtype) == ((len(names),), bool)
        assert 0 < mask.sum() < len(names)


@given(NAMINGS, st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.75]))
@settings(max_examples=60, deadline=None)
def test_the_share_is_met_to_within_a_quarter_whatever_the_names(names, fraction):
    wanted = fraction * len(names)
    assert abs(split(names, fraction).sum() - wanted) <= max(1.0, wanted / 4) + 1e-9  # or to an image


@given(NAMINGS, st.sampled_from([0.05, 0.1, 0.3]), st.data())
@settings(max_examples=60, deadline=None)
def test_each_class_keeps_an_image_for_training(names, fraction, data):
    labels = np.array(data.draw(st.lists(st.integers(-1, 9), min_size=len(names), max_size=len(names))))
    mask = split(names, fraction, labels=labels)
    assert 0 < mask.sum() < len(names)
    if len(set(labels)) < len(names):
        assert set(labels[~mask]) == set(labels)


@given(NAMINGS, st.sampled_from([0.1, 0.3, 0.5]), st.data())
@settings(max_examples=60, deadline=None)
def test_an_added_image_moves_at_most_one_other(names, fraction, data):
    added = data.draw(st.lists(st.integers(100, 999), min_size=1, max_size=5, unique=True))
    before = dict(zip(names, split(names, fraction), strict=True))
    names = [*(f"new/{number}.png" for number in added), *names]
    after = dict(zip(names, split(names, fraction), strict=True))
    assert sum(before[name] != after[name] for name in before) <= 2 * len(added)  # and the last is kept for training


def test_views_of_one_name_in_each_folder_are_all_held_out_at_times():
    names = [f"{number}/{view}.png" for number in range(500) for view in ("left", "right")]
    sides = split(names, 0.1).reshape(500, 2)
    assert (sides.sum(0) > 30).all()
    more = [*names, *(f"{number}/left.png" for number in range(1000, 1500))]
    assert np.array_equal(split(more, 0.1)[:1000], sides.reshape(-1))
    moved = [name.replace("7", "seven") for name in names]
    same = np.array([name in names for name in moved])
    assert np.array_equal(split(moved, 0.1)[same], sides.reshape(-1)[same])


def test_versions_of_an_image_in_several_folders_stay_together():
    names = [f"{size}/{number:04}.png" for number in range(500) for size in (64, 128, 256)]
    sides = split(names, 0.1).reshape(500, 3)
    assert (sides == sides[:, :1]).all()


@given(st.integers(40, 200), st.sampled_from([0.1, 0.3]))
@settings(max_examples=50, deadline=None)
def test_many_groups_meet_the_share_too(count, fraction):
    names = [f"{group}_{image}.png" for group in range(count) for image in range(2)]
    wanted = fraction * len(names)
    assert abs(split(names, fraction, r"^\d+").sum() - wanted) <= max(2.0, wanted / 4) + 1e-9


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
    ("names", "pattern"), [(["a.png"], None), (["a/1.png", "b/1.png"], "1"), (LETTERS, ".png"), ([], None)]
)
def test_a_single_group_cannot_be_split(names, pattern):
    with pytest.raises(DataError, match=f"at least two .* got [01] for {len(names)} images"):
        split(names, 0.5, pattern)
