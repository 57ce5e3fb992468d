"""Other formats, looked through for the quality that is wanted."""

import math

import numpy as np
import pytest

from vqvae2.studio.image_formats import FORMATS, psnr_db

LOSSY = [one for one in FORMATS if not one.is_lossless and one.is_available]


def by_name(name):
    return next(one for one in FORMATS if one.name == name)


@pytest.fixture
def picture():
    """Smooth in one direction, noisy in the other: hard enough for qualities to differ."""
    ramp = np.linspace(0, 200, 48)[None, :, None] * np.ones((40, 1, 3))
    return (ramp + np.random.default_rng(0).integers(0, 40, (40, 48, 3))).astype(np.uint8)


@pytest.mark.parametrize("name", ["JPEG", "WebP"])
@pytest.mark.parametrize("wanted_db", [22.0, 28.0, 31.0])
def test_bisection_finds_what_a_search_of_all_qualities_does(name, wanted_db, picture):
    one = by_name(name)
    found = one.smallest_of_psnr(picture, wanted_db)
    reached = {value: psnr_db(one.decode(one.encode(picture, value), channels=3), picture) for value in one.all_values}
    good = [value for value, reached_db in reached.items() if reached_db >= wanted_db]
    # Quality and nearness rise together but for steps backwards of some hundredths, over which bisection may stumble.
    assert found.psnr_db >= wanted_db or not good
    assert found.psnr_db == reached[found.value]
    assert abs(one.all_values.index(found.value) - one.all_values.index(good[0] if good else one.all_values[-1])) <= 2


@pytest.mark.parametrize("one", LOSSY, ids=lambda one: one.name)
def test_the_lowest_value_is_given_where_it_is_good_enough(one, picture):
    assert one.smallest_of_psnr(picture, 0.0).value == one.all_values[0]


@pytest.mark.parametrize("one", LOSSY, ids=lambda one: one.name)
def test_the_highest_value_is_given_where_none_is_good_enough(one, picture):
    found = one.smallest_of_psnr(picture, 200.0)
    assert found.value == one.all_values[-1]
    assert found.psnr_db < 200.0


def test_a_format_without_loss_gives_the_image_itself(picture):
    found = by_name("PNG").smallest_of_psnr(picture, 30.0)
    assert found.psnr_db == math.inf
    assert np.array_equal(found.pixels, picture)


def test_the_psnr_of_one_step_of_grey_is_that_of_its_definition():
    black = np.zeros((4, 4, 1), dtype=np.uint8)
    assert psnr_db(black + 1, black) == pytest.approx(20.0 * math.log10(255.0))
