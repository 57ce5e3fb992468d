"""The page: complete, self-contained, harmless, and forgiving about what is missing."""

import base64
import dataclasses
import io
import json
import math
import re
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from vqvae2.report import Completions, ReportData, render_page, write_report
from vqvae2.report.figures import curve
from vqvae2.report.pictures import code_colors, code_picture, image_tag, shrink
from vqvae2.report.text import flatten, format_number, format_percent, format_seconds, number

ABOUT_THE_MODEL = [
    "summary",
    "reconstructions",
    "codes",
    "codebooks",
    "training",
    "samples",
    "completions",
    "likelihood",
]
SECTIONS = [*ABOUT_THE_MODEL, "times", "config", "next"]


def make(
    *,
    names: tuple[str, ...] = ("top", "bottom"),
    channels: int = 3,
    num_images: int = 5,
    size: tuple[int, int] = (16, 16),
) -> ReportData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, *size, channels), dtype=np.uint8)
    grids = [tuple(-(-side // 2 ** (len(names) - level)) for side in size) for level in range(len(names))]
    rows = [{"step": step, "seconds": 0.1 * step, "loss": 3.0 / step, "reconstruction_mse": 1.0 / step,
             "quantizer": 0.1, "learning_rate": 1e-3, "step_seconds": 0.1, "data_seconds": 0.01, "perplexity_0": 3.0}
            for step in range(1, 30)]  # fmt: skip
    rows[-1] |= {"validation_mse": 0.1, "validation_nats_per_code": 1.5, "train_nats_per_code": 1.25}
    levels = [
        {"name": name, "shape": list(grid), "num_embeddings": 8, "usage": 0.75, "perplexity": 5.5,
         "nll_nats_per_code": 1.5, "nll_bits_per_code": 1.5 / math.log(2), "uniform_bits_per_code": 3.0,
         "train_nll_nats_per_code": 1.25, "unigram_nats_per_code": 1.9,
         "given_above_nats_per_code": None if name == names[0] else 1.75}
        for name, grid in zip(names, grids, strict=True)
    ]  # fmt: skip
    return ReportData(
        title="A run",
        results={
            "validation": {"mse": 0.0123, "psnr_db": 25.12, "ssim": 0.876, "num_images": 5},
            "levels": levels,
            "bits_per_pixel": 0.345,
            "compression_ratio": 69.6,
            "trainings": {
                "train tokenizer": {"planned_steps": 2000, "last_step": 2000, "best_step": 1900},
                "train prior, top": {"planned_steps": 1487, "last_step": 1285, "best_step": 750},
            },
            "seconds": {"prepare images": 1.5, "train tokenizer": 75.0},
            "num_images": {"train": 1234, "validation": 5, "skipped": 2},
            "versions": {"vqvae2": "0.1.0"},
            "machine": {"device": "cpu"},
        },
        tokenizer_curve=rows,
        prior_curves=[rows] * len(names),
        level_names=names,
        originals=images,
        partial_reconstructions=[images // 2] * len(names),
        code_maps=[rng.integers(0, 8, (num_images, *grid)) for grid in grids],
        num_embeddings=[8] * len(names),
        code_counts=[np.array([9, 5, 5, 3, 1, 1, 0, 0])] * len(names),
        samples={"cats": images, "dogs": images},
        completions=[
            Completions(title="Half", originals=images, given=images // 3, variants=[images // 4, images // 5])
        ],
        config={"image_size": list(size), "tokenizer": {"strides": [4, 2]}},
        next_steps=["vqvae2 sample runs/a"],
    )


def without_charts(data: ReportData) -> ReportData:
    """Leave out what is slow to draw."""
    return dataclasses.replace(data, tokenizer_curve=[], prior_curves=[], code_counts=[])


@pytest.fixture(scope="module")
def page(read: Any) -> Any:
    return read(render_page(make()))


def test_both_files_are_written_and_nothing_else(tmp_path: Any) -> None:
    path = write_report(make(), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "report.html"
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html", "results.json"]


def test_results_are_written_unchanged(tmp_path: Any) -> None:
    data = make()
    data.results["extra"] = {"anything": [1, None, "é"], "psnr_db": math.inf}
    write_report(data, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == data.results


def test_page_is_balanced_and_has_every_section(page: Any) -> None:
    assert not page.open
    assert page.sections == SECTIONS


def test_page_refers_to_nothing_outside_itself(page: Any) -> None:
    for reference in page.references:
        assert reference.startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)|@import|https?://", render_page(make()))


def test_every_inner_reference_has_one_target(page: Any) -> None:
    assert len(set(page.ids)) == len(page.ids)
    for reference in page.references:
        assert not reference.startswith("#") or reference[1:] in page.ids


def test_charts_take_their_colours_from_the_page() -> None:
    svg = "".join(re.findall(r"<svg.*?</svg>", render_page(make()), flags=re.DOTALL))
    assert "var(--train)" in svg
    assert not re.search(r"(fill|stroke): #", svg)
    assert "font-family" not in svg


def test_same_data_gives_the_same_bytes() -> None:
    assert render_page(make()) == render_page(make())


def test_global_matplotlib_settings_are_left_alone() -> None:
    before = dict(mpl.rcParams)
    render_page(make())
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("number_shown", ["25.1", "0.0123", "0.876", "[−1, 1]", "0.345", "2.16", "1,234", "1 min 15 s"])  # noqa: RUF001 (the page writes a true minus sign)
def test_number_is_shown(page: Any, number_shown: str) -> None:
    assert number_shown in page.visible


@pytest.mark.parametrize("names", [("top",), ("top", "mid", "bottom"), ("top", "mid1", "mid2", "bottom")])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_levels_and_channels(read: Any, names: tuple[str, ...], channels: int) -> None:
    data = make(names=names, channels=channels)
    page = read(render_page(data if channels == 3 else without_charts(data)))
    assert not page.open
    assert page.sections == SECTIONS
    rows = (1 + len(names)) * 2  # originals and one row a level, as reconstructions and as codes
    assert page.tags.count("img") == rows * 5 + 2 * 5 + 4 * 5  # samples of two classes, and four rows of completions


@pytest.mark.parametrize("size", [(24, 40), (40, 24), (17, 90), (3, 1000), (1000, 3)])
def test_pictures_have_the_shape_of_the_images(size: tuple[int, int]) -> None:
    text = render_page(without_charts(make(size=size)))
    before, after = (
        [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).shape[:2]
            for data in re.findall(r"base64,([^\"]*)", part)
        ]
        for part in text.split('<section id="samples">')
    )
    assert len(set(before)) == 1  # originals, reconstructions and code maps lie over each other
    for height, width in before + after:
        assert size[0] // height == size[1] // width  # both sides are divided by the same


def test_images_of_16_bits_are_shown_at_8_and_measured_as_they_are() -> None:
    data = without_charts(make(channels=1))
    originals = data.originals.astype(np.uint16) * 257
    data = dataclasses.replace(
        data,
        originals=originals,
        partial_reconstructions=[originals ^ 1, originals],
        samples={"all": originals},
        completions=[Completions(title="", originals=originals, given=originals, variants=[originals])],
    )
    text = render_page(data)
    assert "96.3 dB" in text  # 20 log10 65535: off by 1 everywhere, which 8 bits would not show
    shown = [Image.open(io.BytesIO(base64.b64decode(png))) for png in re.findall(r"base64,([^\"]*)", text)]
    assert all(image.mode in ("L", "RGB") for image in shown)
    assert np.array_equal(np.asarray(shown[-1]), (originals[-1, ..., 0] // 257))


def test_shrinking_keeps_16_bits() -> None:
    images = np.full((1, 300, 200, 1), 40_000, dtype=np.uint16)
    shrunk = shrink(images, largest=128)
    assert shrunk.dtype == np.uint16
    assert (shrunk == 40_000).all()


def test_rows_say_which_levels_they_are_made_of(read: Any) -> None:
    visible = read(render_page(make(names=("top", "mid", "bottom")))).visible
    for label in ("top only", "+ mid", "all levels"):
        assert label in visible


def test_a_training_says_why_it_ended(page: Any) -> None:
    assert "stopped: no better validation since step 750" in page.visible
    assert "all steps done" in page.visible


def test_a_chart_shows_the_course_of_the_gap(page: Any) -> None:
    for label in ("training images", "validation images", "loss, with dropout"):
        assert label in page.visible


def test_baselines_stand_beside_the_prior(page: Any) -> None:
    for shown in ("1.90", "1.75", "code above alone", "frequency alone"):
        assert shown in page.visible


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ((1.0, 1.0), "The priors of top and bottom overfit"),
        ((1.0, 1.4), "The prior of top overfits"),
        ((1.4, 1.4), "No gap is above a tenth of the cost"),
    ],
)
def test_a_large_gap_is_called_overfitting_with_what_helps(read: Any, train: tuple[float, float], words: str) -> None:
    data = without_charts(make())
    for level, nats in zip(data.results["levels"], train, strict=True):
        level["train_nll_nats_per_code"] = nats
    visible = read(render_page(data)).visible
    assert words in visible
    assert ("horizontal_flips" in visible) == ("overfit" in words)


def test_without_training_likelihoods_no_gap_is_judged(read: Any) -> None:
    data = without_charts(make())
    for level in data.results["levels"]:
        del level["train_nll_nats_per_code"]
    assert "a tenth of the cost" not in read(render_page(data)).visible


def test_completions_have_a_row_for_each_way_and_a_heading(read: Any) -> None:
    visible = read(render_page(without_charts(make()))).visible
    strips = visible[visible.index("Half") :]
    assert strips.index("original") < strips.index("given") < strips.index("variant 1") < strips.index("variant 2")


def test_one_image_and_no_classes(read: Any) -> None:
    data = make(num_images=1)
    page = read(render_page(dataclasses.replace(data, samples={"all": data.originals})))
    assert not page.open
    assert "cats" not in page.visible


def test_empty_run_gives_a_page_with_every_section(read: Any) -> None:
    nothing = np.zeros((0, 16, 16, 3), dtype=np.uint8)
    data = ReportData(
        title="Nothing yet", results={}, tokenizer_curve=[], prior_curves=[[], []], level_names=("top", "bottom"),
        originals=nothing, partial_reconstructions=[], code_maps=[], num_embeddings=[8, 8], code_counts=[],
        samples={}, completions=[], config={}, next_steps=[],
    )  # fmt: skip
    page = read(render_page(data))
    assert not page.open
    assert page.sections == SECTIONS
    assert page.tags.count("img") == page.tags.count("svg") == 0


@pytest.mark.parametrize(
    "key", ["trainings", "validation", "levels", "bits_per_pixel", "seconds", "num_images", "versions"]
)
@pytest.mark.parametrize("value", [None, {}, []])
def test_any_result_may_be_missing_or_empty(read: Any, key: str, value: Any) -> None:
    data = without_charts(make())
    page = read(render_page(dataclasses.replace(data, results=data.results | {key: value})))
    assert page.sections == SECTIONS


def test_hostile_text_is_escaped(read: Any) -> None:
    evil = '"><script>alert(1)</script>'
    data = dataclasses.replace(
        make(names=(evil, "bottom")), title=evil, config={evil: {evil: evil}}, next_steps=[evil],
    )  # fmt: skip
    data = dataclasses.replace(
        data,
        samples={evil: data.originals, "other": data.originals},
        results=data.results | {"seconds": {evil: 1.0}, "versions": {evil: evil}},
    )
    page = read(render_page(data))
    assert not page.open
    assert "script" not in page.tags
    assert evil in page.visible


def test_broken_rows_of_a_log_are_left_out() -> None:
    steps, values = curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": math.nan}, {"step": 3}], "loss")
    assert steps.tolist() == [1.0]
    assert values.tolist() == [2.0]


def test_long_curve_keeps_its_ends_and_600_points() -> None:
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


def test_large_images_are_averaged_and_small_ones_kept() -> None:
    images = np.full((1, 300, 200, 3), 7, dtype=np.uint8)
    assert shrink(images, largest=128).shape == (1, 100, 66, 3)
    assert (shrink(images, largest=128) == 7).all()
    assert shrink(images, largest=300) is images


def test_a_narrow_image_keeps_a_pixel() -> None:
    images = np.full((1, 3, 1000, 1), 7, dtype=np.uint8)
    assert shrink(images, largest=128).shape == (1, 1, 333, 1)


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "\N{EN DASH}"), (math.inf, "\N{INFINITY}"), (0.0, "0"), (24.456, "24.5"), (12345.6, "12,346")],
)
def test_format_number(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(("fraction", "text"), [(1.0, "100"), (0.9999, "99.9"), (0.934, "93"), (0.001, "0.1")])
def test_format_percent(fraction: float, text: str) -> None:
    assert format_percent(fraction).rstrip("\N{NARROW NO-BREAK SPACE}%") == text


@pytest.mark.parametrize(("seconds", "text"), [(1.25, "1.2 s"), (59.99, "1 min 0 s"), (3700.0, "1 h 1 min")])
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_flatten_names_every_value() -> None:
    assert dict(flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}})) == {"a.b": "1", "a.c": "1, 2", "d": "{}"}


def test_number_ignores_what_is_not_one() -> None:
    assert number({"a": {"b": 2}}, "a", "b") == 2.0
    others: list[Any] = [None, True, "2", math.nan, {}]
    assert [number({"a": other}, "a") for other in others] == [None] * 5
