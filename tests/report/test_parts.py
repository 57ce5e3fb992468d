"""The parts of a page: charts, pictures, and numbers as words."""

import base64
import io
import math
import re
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from vqvae2.report.figures import Axis, Line, curve, line_chart
from vqvae2.report.pictures import code_colors, code_picture, image_tag, shrink
from vqvae2.report.text import flatten, format_number, format_percent, format_seconds


def chart(points: np.ndarray, x_axis: Axis, notes: tuple[str, ...] = ()) -> str:
    line = Line(label="", x=points, y=points, color="train", notes=notes)
    return line_chart("a", "A", [line], x_axis=x_axis, log=False)


def test_rates_run_from_high_to_low_at_equal_ratios_and_share_marks_where_crowded() -> None:
    svg = chart(np.array([1.0, 0.1, 0.01]), "rates")
    places = [float(match) for match in re.findall(r'<text[^>]*x="([0-9.]+)"[^>]*>(?:1|0\.1|0\.01)</text>', svg)]
    assert len(places) == 3
    assert places[0] < places[1] < places[2]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.01)
    assert chart(np.geomspace(1.0, 0.01, 100), "rates").count("<text") < 25


def test_notes_stand_beside_points_and_global_settings_are_left_alone() -> None:
    before = dict(mpl.rcParams)
    svg = chart(np.array([0.5, 0.75]), "values", ("here", "there"))
    assert dict(mpl.rcParams) == before
    for shown in (">here<", ">there<", ">0.6<"):  # the last is a mark between whole numbers
        assert shown in svg


def test_a_curve_leaves_out_what_is_missing_and_keeps_its_ends_and_600_points() -> None:
    steps, values = curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": math.nan}, {"step": 3}], "loss")
    assert (steps.tolist(), values.tolist()) == ([1.0], [2.0])
    steps, _ = curve([{"step": step, "loss": 1.0} for step in range(1, 5001)], "loss")
    assert len(steps) == 600
    assert (steps[0], steps[-1]) == (1.0, 5000.0)


def test_image_tag_holds_the_pixels_enlarged_by_a_whole_factor() -> None:
    pixels = np.arange(32 * 24 * 3, dtype=np.uint8).reshape(32, 24, 3)
    tag = image_tag(pixels, alt="a")
    assert 'width="72" height="96"' in tag
    encoded = re.search(r"base64,([^\"]*)", tag)
    assert encoded is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded[1])))), pixels)


@pytest.mark.parametrize(
    ("size", "dtype", "expected"),
    [((300, 200), np.uint8, (100, 66)), ((300, 200), np.uint16, (100, 66)), ((3, 1000), np.uint8, (1, 333))],
)
def test_large_images_are_averaged_in_their_type(size: tuple[int, int], dtype: type, expected: tuple[int, int]) -> None:
    images = np.full((1, *size, 3), np.iinfo(dtype).max - 5, dtype=dtype)
    shrunk = shrink(images, largest=128)
    assert (shrunk.shape, shrunk.dtype) == ((1, *expected, 3), dtype)
    assert (shrunk == images[0, 0, 0]).all()
    assert shrink(images, largest=1000) is images


def test_codes_have_stable_and_different_colours() -> None:
    colors = code_colors(np.arange(1024))
    assert len(np.unique(colors, axis=0)) == 1024
    assert np.array_equal(code_colors(np.array([[3, 700]])), colors[[[3, 700]]])
    neighbours = np.abs(np.diff(colors.astype(int), axis=0)).sum(axis=1)
    assert neighbours.min() > 30


def test_code_picture_covers_each_code_s_pixels() -> None:
    codes = np.array([[[1, 2, 3], [4, 5, 6]]])  # each of 8 x 8 pixels; the image was padded from 21 to 24 wide
    picture = code_picture(codes, height=16, width=21)
    assert picture.shape == (1, 16, 21, 3)
    assert np.array_equal(picture[0, 8:, 16:], np.broadcast_to(code_colors(np.array(6)), (8, 5, 3)))


DASH, PERCENT = "\N{EN DASH}", "\N{NARROW NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (format_number, {None: DASH, math.nan: DASH, math.inf: "\N{INFINITY}"}),
        (format_number, {0.0: "0", 24.456: "24.5", 12345.6: "12,346"}),
        (format_percent, {1: f"100{PERCENT}", 0.9999: f"99.9{PERCENT}", 0.934: f"93{PERCENT}", 1e-3: f"0.1{PERCENT}"}),
        (format_seconds, {1.25: "1.2 s", 59.99: "1 min 0 s", 3700.0: "1 h 1 min"}),
    ],
)
def test_numbers_as_words(write: Callable[[float | None], str], words: dict[float | None, str]) -> None:
    assert {value: write(value) for value in words} == words


def test_flatten_names_every_value() -> None:
    assert dict(flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}})) == {"a.b": "1", "a.c": "1, 2", "d": "{}"}
