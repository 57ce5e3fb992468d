"""Other formats, searched for the quality that is wanted."""

import math

import numpy as np
import pytest

from vqvae2.studio.image_formats import FORMATS, psnr_db

LOSSY = [one for one in FORMATS if not one.is_lossless and one.is_available]
PNG = FORMATS[0]


@pytest.fixture
def picture():
    """Smooth in one direction, noisy in the other: hard enough for qualities to differ."""
    ramp = np.linspace(0, 200, 48)[None, :, None] * np.ones((40, 1, 3))
    return (ramp + np.random.default_rng(0).integers(0, 40, (40, 48, 3))).astype(np.uint8)


@pytest.mark.parametrize("one", LOSSY, ids=lambda one: one.name)
def test_bisection_finds_what_a_search_of_all_qualities_does_and_says_where_none_fits(one, picture):
    reached = {value: psnr_db(one.decode(one.encode(picture, value), channels=3), picture) for value in one.all_values}
    settings = [one.setting(value) for value in one.all_values]
    for wanted_db, note in ((0.0, "even its lowest"), (22.0, ""), (28.0, ""), (31.0, ""), (200.0, "even its highest")):
        found = one.smallest_of_psnr(picture, wanted_db)
        assert found.note.startswith(note)
        good = [value for value, reached_db in reached.items() if reached_db >= wanted_db]
        index = settings.index(found.setting)
        # PSNR falls by some hundredths from a few qualities to the next, over which bisection may stumble.
        assert found.psnr_db >= wanted_db or not good
        assert found.psnr_db == reached[one.all_values[index]]
        assert abs(index - one.all_values.index(good[0] if good else one.all_values[-1])) <= 2


def test_a_lossless_format_gives_the_image_itself_and_needs_no_note(picture):
    found = PNG.smallest_of_psnr(picture, 200.0)
    assert (found.psnr_db, found.note) == (math.inf, "")
    assert np.array_equal(found.pixels, picture)


def test_the_psnr_of_one_step_of_grey_is_that_of_its_definition():
    black = np.zeros((4, 4, 1), dtype=np.uint8)
    assert psnr_db(black + 1, black) == pytest.approx(20.0 * math.log10(255.0))
