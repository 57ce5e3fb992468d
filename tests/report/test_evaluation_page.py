"""The page of an evaluation: every number, beside what the paper gives, and nothing that was not measured."""

import base64
import copy
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vqvae2.images import image_grid, save_png
from vqvae2.report import render_evaluation_page, write_evaluation_page
from vqvae2.report.figures import Line, line_chart

SIZE = (10, 12)
SECTIONS = ["summary", "reconstruction", "accuracy", "dial", "distances", "memorization", "circumstances"]


def scores(first: float) -> dict[str, float]:
    names = ("frechet_distance", "kernel_distance", "inception_score", "precision", "recall", "density", "coverage")
    return {name: first + 0.01 * index for index, name in enumerate(names)}


def protocol(network: str | None = None, num_images: int = 50) -> dict[str, Any]:
    values = {
        "reference": "training images of toys",
        "reference_fingerprint": "f00d",
        "num_reference": 777,
        "num_images": num_images,
        "image_size": list(SIZE),
        "resize": "crop, Lanczos",
        "versions": {"vqvae2": "9.8.7"},
    }
    return values | ({"network": network, "preprocessing": "bicubic to 224"} if network else {})


def of_network(name: str, offset: float = 0.0) -> dict[str, dict[str, Any]]:
    sets = ("validation images", "reconstructions of validation images", "samples", "noise")
    return {
        "quality": {
            "sets": [{"set": kind, **scores(offset + index + 1.0)} for index, kind in enumerate(sets)],
            "num_features": 40,
            "protocol": protocol(name),
            "seconds": 11.0,
        },
        "dial": {
            "rates": [
                {"acceptance_rate": rate, "mean_score": score, **scores(offset + 5.0 + score)}
                for rate, score in ((1.0, 0.315), (0.25, 0.625), (0.05, 0.875))
            ],
            "best_acceptance_rate": 1.0,
            "num_samples": 2345,
            "picture": "dial.png",
            "protocol": protocol(name, num_images=30),
            "seconds": 12.0,
        },
        "memorization": {
            "share_nearer": 0.4321 + offset / 100.0,
            "sample_distance": 1.765,
            "validation_distance": 1.654,
            "picture": f"memorization-{name.lower()}.png",
            "protocol": protocol(name),
            "seconds": 13.0,
        },
    }


def make(**networks: float) -> dict[str, Any]:
    """Make results, each of whose numbers is another."""
    by_network: dict[str, dict[str, Any]] = {"quality": {}, "dial": {}, "memorization": {}}
    for name, offset in (networks or {"Classifier": 0.0}).items():
        for metric, values in of_network(name, offset).items():
            by_network[metric][name] = values
    levels = [
        {"name": name, "mse_down_to_here": mse, "usage": usage, "perplexity": perplexity, "dead_codes": dead}
        for name, mse, usage, perplexity, dead in (("top", 0.0456, 0.81, 123.0, 17), ("bottom", 0.0123, 0.92, 111.0, 9))
    ]
    costs = [
        {"name": name, "shape": [2, 3], "nll_nats_per_code": nll, "nll_bits_per_code": nll / np.log(2),
         "train_nll_nats_per_code": train, "train_nll_bits_per_code": train / np.log(2),
         "gap_nats_per_code": nll - train, "uniform_bits_per_code": 7.0, "unigram_nats_per_code": 4.25,
         "given_above_nats_per_code": above}
        for name, nll, train, above in (("top", 3.21, 3.14, None), ("bottom", 2.46, 2.35, 4.05))
    ]  # fmt: skip
    return {
        "reconstruction": {
            "train": {"mse": 0.0111, "psnr_db": 25.6, "ssim": 0.912, "num_images": 49},
            "validation": {"mse": 0.0123, "psnr_db": 25.1, "ssim": 0.905, "num_images": 50},
            "levels": levels,
            "protocol": protocol(),
            "seconds": 75.0,
        },
        "likelihood": {
            "levels": costs,
            "bits_per_pixel": 0.345,
            "bits_per_dim": 0.115,
            "protocol": protocol(),
            "seconds": 9.0,
        },
        **by_network,
        "accuracy": {
            "classifiers": [
                {"trained_on": "real", "top1": 0.8123, "top5": 0.9512, "loss": 0.654},
                {"trained_on": "reconstructions", "top1": 0.7654, "top5": 0.9432, "loss": 0.765},
                {"trained_on": "samples", "top1": 0.5432, "top5": 0.8321, "loss": 1.234},
            ],
            "num_training_images": 654,
            "num_validation_images": 50,
            "protocol": protocol(),
            "seconds": 8.0,
        },
        "left_out": {},
        "num_images": {"train": 1234, "validation": 50, "samples": 2345, "compared": 48},
        "machine": {"device": "abacus", "threads": 3},
    }  # fmt: skip


def save_pictures(directory: Path, results: dict[str, Any], *, channels: int = 3) -> None:
    rng = np.random.default_rng(0)
    for metric, rows in (("dial", 3), ("memorization", 4)):
        for values in results[metric].values():
            pixels = rng.integers(0, 256, (rows * 5, *SIZE, channels), dtype=np.uint8)
            save_png(image_grid(pixels, columns=5), directory / values["picture"])


def reconstruction_only() -> dict[str, Any]:
    """What a pipeline without priors, on images without classes, leaves."""
    full = make()
    return {
        "reconstruction": full["reconstruction"],
        "left_out": {"likelihood": "`likelihood` needs priors", "accuracy": "`accuracy` needs images with <labels>"},
        "num_images": {"train": 1234, "validation": 50, "samples": 0, "compared": 48},
        "machine": full["machine"],
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("evaluation")
    save_pictures(directory, make())
    return render_evaluation_page(make(), directory, title="An evaluation")


@pytest.fixture(scope="module")
def page(read: Any, text: str) -> Any:
    return read(text)


def test_only_the_page_is_written(tmp_path: Path) -> None:
    path = write_evaluation_page(reconstruction_only(), tmp_path, title="T")
    assert path == tmp_path / "report.html"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == render_evaluation_page(reconstruction_only(), tmp_path, title="T")


def test_page_is_balanced_and_has_every_section(page: Any) -> None:
    assert not page.open
    assert page.sections == SECTIONS


def test_page_refers_to_nothing_outside_itself(page: Any, text: str) -> None:
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert not re.search(r"url\((?!#)|@import|https?://", text)


def test_every_inner_reference_has_one_target(read: Any, tmp_path: Path) -> None:
    page = read(render_evaluation_page(make(Classifier=0.0, Lite0=10.0), tmp_path, title="T"))
    assert len(set(page.ids)) == len(page.ids)
    assert all(not reference.startswith("#") or reference[1:] in page.ids for reference in page.references)


def test_sections_name_what_they_answer(page: Any) -> None:
    for section, words in (("reconstruction", "as table 1"), ("accuracy", "as table 2"), ("dial", "as figure 7")):
        assert f"{words} of Razavi et al. 2019" in page.text[section]


def test_every_section_says_what_good_is(page: Any) -> None:
    assert all("Good:" in page.text[section] for section in SECTIONS[1:-1])


def test_likelihoods_and_errors_stand_beside_the_paper_s(page: Any) -> None:
    assert page.row("NLL top, nats per code") == ["3.14", "3.21", "3.40", "3.41"]
    assert page.row("NLL bottom, bits per code") == ["3.39", "3.55", "4.98", "4.98"]
    assert page.row("MSE") == ["0.0111", "0.0123", "0.0047", "0.0050"]
    assert page.row("PSNR, dB")[:2] == ["25.6", "25.1"]
    assert page.row("SSIM")[:2] == ["0.912", "0.905"]
    assert page.row("bits per pixel, by the priors")[1] == "0.345"
    assert page.row("top", "123") == ["81\N{NARROW NO-BREAK SPACE}%", "17", "123", "0.0456"]


def test_levels_that_the_paper_has_not_stand_alone(read: Any, tmp_path: Path) -> None:
    results = make()
    for metric in ("reconstruction", "likelihood"):
        results[metric]["levels"][0]["name"] = "mid"
    page = read(render_evaluation_page(results, tmp_path, title="T"))
    assert page.row("NLL mid, nats per code") == ["3.14", "3.21", "\N{EN DASH}", "\N{EN DASH}"]


def test_accuracies_stand_beside_the_paper_s(page: Any) -> None:
    percent = "\N{NARROW NO-BREAK SPACE}%"
    assert page.row("real") == ["81.23", f"100{percent}", "95.12", "0.654", "73.09", f"100{percent}", "91.47"]
    assert page.row("samples", "54.32") == ["54.32", f"67{percent}", "83.21", "1.23", "54.83", f"75{percent}", "77.59"]
    assert page.row("samples of BigGAN-deep")[4:] == ["42.65", f"58{percent}", "65.92"]
    assert "654 images of each kind" in page.visible


def test_every_score_of_every_set_is_shown(page: Any) -> None:
    for number, kind in enumerate(("validation images", "reconstructions of validation images", "samples", "noise"), 1):
        shown = page.row(kind, f"{number}.00")
        assert shown == [f"{number + 0.01 * index:.2f}" for index in range(7)]


def test_every_score_of_every_rate_is_shown(page: Any) -> None:
    for rate, score in (("1", 0.315), ("0.25", 0.625), ("0.05", 0.875)):
        expected = [f"{score:.3f}", *(f"{5.0 + score + 0.01 * index:.2f}" for index in range(7))]
        assert page.row(rate) == pytest.approx(expected)


def test_the_best_rate_is_named_in_words(page: Any) -> None:
    assert "Each rate keeps 30 of up to 2,345 samples" in page.text["dial"]
    assert "best rate is 1:" in page.text["dial"]


@pytest.mark.parametrize("shown", ["0.432", "1.76", "1.65"])
def test_memorization_is_shown(page: Any, shown: str) -> None:
    assert shown in page.row("Classifier", "0.432")


def test_every_field_of_every_protocol_is_folded(page: Any) -> None:
    for section, count in (("reconstruction", 2), ("accuracy", 1), ("dial", 1), ("distances", 1), ("memorization", 1)):
        assert page.text[section].count("Protocol of") == count
        for field in ("training images of toys", "f00d", "777", "10, 12", "crop, Lanczos", "9.8.7"):
            assert page.text[section].count(field) == count
    assert page.text["dial"].count("bicubic to 224") == 1


def test_counts_times_and_machine_are_shown(page: Any) -> None:
    for shown in ("1,234", "2,345", "48", "abacus", "9.8.7", "quality, Classifier", "1 min 15 s"):
        assert shown in page.text["circumstances"]


def test_cards_sum_up(page: Any) -> None:
    for shown in ("25.1 dB", "MSE 0.0123", "SSIM 0.905", "4.63 top", "3.55 bottom", "3.00 samples", "1.00 held out"):
        assert shown in page.text["summary"]
    assert "54\N{NARROW NO-BREAK SPACE}% of 81\N{NARROW NO-BREAK SPACE}%" in page.text["summary"]
    assert "0.43 Classifier" in page.text["summary"]


def test_two_networks_have_a_table_and_charts_each(read: Any, tmp_path: Path) -> None:
    results = make(Classifier=0.0, Lite0=10.0)
    save_pictures(tmp_path, results)
    page = read(render_evaluation_page(results, tmp_path, title="T"))
    assert page.sections == SECTIONS
    assert page.tags.count("svg") == 2 * 6
    for name in ("Classifier-FD", "Lite0-FD", "Classifier-KD", "Lite0-KD"):
        assert name in page.text["dial"]
        assert name in page.text["distances"]
    assert [row[1] for row in page.cells if row[0] == "noise"] == ["4.00", "14.0"]
    assert page.row("Lite0", "0.532")[0] == "0.532"
    # The rows of the dial once, since they are the same samples, and those of memorization for each network.
    assert page.tags.count("img") == 3 * 5 + 2 * 4 * 5


@pytest.mark.parametrize(("network", "is_standard"), [("Inception-v3", True), ("Lite0", False), ("inception", False)])
def test_only_inception_v3_has_a_fid_beside_published_ones(
    read: Any, tmp_path: Path, network: str, is_standard: bool
) -> None:
    page = read(render_evaluation_page(make(**{network: 0.0}), tmp_path, title="T"))
    header = next(row for row in page.cells if row[1:] and "coverage" in row and "acceptance rate" not in row)
    assert header[1:3] == (["FID", "KID"] if is_standard else [f"{network}-FD", f"{network}-KD"])
    published = page.row("published: samples, unfiltered")
    assert len(published) == (7 if is_standard else 4)
    assert [cell for cell in published if cell != "\N{EN DASH}"] == ["31.11", "about 45", "0.36", "0.57"]
    assert ("Nothing above compares with these" in page.visible) != is_standard


@pytest.mark.parametrize(("num_features", "count"), [(30, 0), (31, 1), (51, 2)])
def test_fewer_images_than_features_are_warned_of(read: Any, tmp_path: Path, num_features: int, count: int) -> None:
    results = make()
    results["quality"]["Classifier"]["num_features"] = num_features
    visible = read(render_evaluation_page(results, tmp_path, title="T")).visible
    assert visible.count("biased upwards") == count


def test_sets_out_of_order_are_named(read: Any, tmp_path: Path) -> None:
    results = make()
    assert "Out of order" not in read(render_evaluation_page(results, tmp_path, title="T")).visible
    results["quality"]["Classifier"]["sets"][2]["frechet_distance"] = 1.5
    visible = read(render_evaluation_page(results, tmp_path, title="T")).visible
    assert "samples are nearer to the training images than reconstructions of validation images" in visible


def test_pictures_are_embedded_with_a_label_for_each_row(read: Any, tmp_path: Path) -> None:
    results = make()
    save_pictures(tmp_path, results)
    text = render_evaluation_page(results, tmp_path, title="T")
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in re.findall(r"base64,([^\"]*)", text)]
    assert [pixels.shape for pixels in shown] == [(*SIZE, 3)] * (3 * 5 + 4 * 5)
    grid = np.asarray(Image.open(tmp_path / "dial.png"))
    assert np.array_equal(shown[5], grid[2 + SIZE[0] + 2 :][: SIZE[0], 2 : 2 + SIZE[1]])  # the second row's first image
    for label in ("rate 0.25", "mean score 0.62", "nearest", "second", "third"):
        assert label in read(text).visible


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_any_channels_are_embedded(read: Any, tmp_path: Path, channels: int) -> None:
    results = make()
    save_pictures(tmp_path, results, channels=channels)
    assert read(render_evaluation_page(results, tmp_path, title="T")).tags.count("img") == 35


@pytest.mark.parametrize("broken", ["missing", "not a picture", "of other images", "outside"])
def test_pictures_that_cannot_be_shown_are_left_out(read: Any, tmp_path: Path, broken: str) -> None:
    folder, results = tmp_path / "evaluation", make()
    folder.mkdir()
    save_pictures(tmp_path, results)
    if broken == "outside":
        for metric in ("dial", "memorization"):
            results[metric]["Classifier"]["picture"] = f"../{results[metric]['Classifier']['picture']}"
    for name in ("dial.png", "memorization-classifier.png"):
        if broken == "not a picture":
            (folder / name).write_bytes(b"?")
        if broken == "of other images":
            Image.new("RGB", (40, 41)).save(folder / name)
    page = read(render_evaluation_page(results, folder, title="T"))
    assert page.sections == SECTIONS
    assert "img" not in page.tags


def test_a_pipeline_of_which_only_reconstruction_is_measured(read: Any, tmp_path: Path) -> None:
    page = read(render_evaluation_page(reconstruction_only(), tmp_path, title="T"))
    assert not page.open
    assert page.sections == ["summary", "reconstruction", "left-out", "circumstances"]
    assert page.row("MSE")[:2] == ["0.0111", "0.0123"]
    assert "NLL" not in page.visible


def test_reasons_of_what_is_left_out_are_shown(read: Any, tmp_path: Path) -> None:
    page = read(render_evaluation_page(reconstruction_only(), tmp_path, title="T"))
    assert page.row("likelihood") == ["`likelihood` needs priors"]
    assert page.row("accuracy") == ["`accuracy` needs images with <labels>"]


@pytest.mark.parametrize("key", [key for key in make() if key != "left_out"])
@pytest.mark.parametrize("value", [None, {}, [], "nothing"])
def test_any_part_may_be_missing_or_of_another_kind(read: Any, tmp_path: Path, key: str, value: Any) -> None:
    results = make() | {"dial": {}} | {key: value}
    page = read(render_evaluation_page(results, tmp_path, title="T"))
    assert not page.open
    assert set(SECTIONS) - {"dial"} - set(page.sections) <= {"distances" if key == "quality" else key}


@pytest.mark.parametrize("metric", ["reconstruction", "likelihood", "accuracy"])
@pytest.mark.parametrize("field", ["levels", "classifiers", "protocol", "validation", "bits_per_pixel"])
def test_any_field_may_be_missing(read: Any, tmp_path: Path, metric: str, field: str) -> None:
    results = make() | {"dial": {}}
    results[metric].pop(field, None)
    assert not read(render_evaluation_page(results, tmp_path, title="T")).open


def test_nothing_measured_gives_a_page(read: Any, tmp_path: Path) -> None:
    page = read(render_evaluation_page({}, tmp_path, title="T"))
    assert page.sections == ["summary"]
    assert "Nothing was measured." in page.visible


def test_hostile_text_is_escaped(read: Any, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>$x$'
    results = make(**{evil: 0.0})
    results |= {"left_out": {evil: evil}, "machine": {evil: evil}}
    for metric in ("reconstruction", "likelihood"):
        results[metric]["levels"][0]["name"] = evil
        results[metric]["protocol"]["image_size"] = [evil, evil]
    results["accuracy"]["classifiers"][0]["trained_on"] = evil
    results["quality"][evil]["sets"][0]["set"] = evil
    results["likelihood"]["levels"][0]["shape"] = [evil, 2]
    results["dial"][evil]["picture"] = results["memorization"][evil]["picture"] = evil
    page = read(render_evaluation_page(copy.deepcopy(results), tmp_path, title=evil))
    assert not page.open
    assert "script" not in page.tags
    assert evil in page.visible


def test_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (render_evaluation_page(make(), tmp_path, title="T") for _ in range(2))
    assert first == second


def test_rates_run_from_high_to_low_at_equal_ratios() -> None:
    rates = np.array([1.0, 0.1, 0.01])
    svg = line_chart(
        "a", "A", [Line(label="", x=rates, y=rates, color="train", markers=True)], x_axis="rates", log=False
    )
    places = [float(match) for match in re.findall(r'<text[^>]*x="([0-9.]+)"[^>]*>(?:1|0\.1|0\.01)</text>', svg)]
    assert len(places) == 3
    assert places[0] < places[1] < places[2]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.01)


def test_crowded_rates_share_marks() -> None:
    rates = np.geomspace(1.0, 0.01, 100)
    svg = line_chart("a", "A", [Line(label="", x=rates, y=rates, color="train")], x_axis="rates", log=False)
    assert svg.count("<text") < 25


def test_notes_stand_beside_points() -> None:
    points = np.array([0.5, 0.75])
    line = Line(label="", x=points, y=points, color="train", notes=("here", "there"))
    svg = line_chart("a", "A", [line], x_axis="values", log=False)
    assert ">here<" in svg
    assert ">there<" in svg
    assert ">0.6<" in svg  # a mark between whole numbers
