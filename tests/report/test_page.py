"""The page: every number and picture that is there, beside what is published, and nothing that was not measured."""

import base64
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import toy_results as toy
from vqvae2.data import ImageStore
from vqvae2.metrics.results import Results
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.report import render_page, write_page
from vqvae2.report.pictures import read_grid
from vqvae2.training.extraction import extract_codes

MODEL_SECTIONS = ["codebooks", "likelihood"]
OF_RUN = ["summary", "reconstructions", "samples", "completions", "codebooks", "training", "likelihood"]
OF_EVALUATION = ["summary", *MODEL_SECTIONS, "accuracy", "dial", "distances", "memorization"]
DASH, PERCENT = "\N{EN DASH}", "\N{NARROW NO-BREAK SPACE}%"


def embedded(text: str) -> list[np.ndarray]:
    """Decode the pictures of a page."""
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in re.findall(r"base64,([^\"]*)", text)]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, with pictures, logs and codes."""
    folder = tmp_path_factory.mktemp("run")
    toy.save_pictures(toy.of_run(), folder)
    rows = [
        {"step": step, "loss": 3.0 / step, "reconstruction_mse": 1.0 / step, "quantizer": 0.1, "learning_rate": 1e-3}
        | {"step_seconds": 0.1, "data_seconds": 0.01, "perplexity_0": 3.0, "usage_1": 0.5}
        for step in range(1, 30)
    ]
    rows[-1] |= {"validation_mse": 0.1, "validation_nats_per_code": 1.5, "train_nats_per_code": 1.25}
    for name in ("tokenizer", "prior-top", "prior-bottom"):
        (folder / name).mkdir()
        (folder / name / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def run_page(read: Any, run_folder: Path) -> Any:
    return read(render_page(toy.of_run(), run_folder, title="A run", next_steps=["vqvae2 sample runs/a"]))


@pytest.fixture(scope="module")
def page(read: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("evaluation")
    toy.save_pictures(toy.of_evaluation(), folder)
    return read(render_page(toy.of_evaluation(), folder, title="An evaluation"))


@pytest.fixture
def render(read: Any, tmp_path: Path) -> Any:
    """Read the page of results, without any file beside them."""
    return lambda results: read(render_page(results, tmp_path, title="T"))


def test_a_page_shows_what_is_there_and_is_balanced(run_page: Any, page: Any, render: Any) -> None:
    assert run_page.sections == [*OF_RUN, "circumstances", "next"]
    assert page.sections == [*OF_EVALUATION, "circumstances"]
    assert render(toy.bare()).sections == ["summary", "circumstances"]
    only = render(toy.bare(reconstruction=toy.reconstruction()))
    assert only.sections == ["summary", *MODEL_SECTIONS, "circumstances"]
    assert not run_page.open + page.open


def test_a_page_refers_to_nothing_outside_itself(run_page: Any, page: Any) -> None:
    for read_page in (run_page, page):
        assert len(set(read_page.ids)) == len(read_page.ids)
        for reference in read_page.references:
            assert reference.startswith("data:") or reference[1:] in read_page.ids
        assert not re.search(r"url\((?!#)|@import|https?://", read_page.source)


def test_the_same_results_give_the_same_bytes_and_no_other_file(run_folder: Path, run_page: Any) -> None:
    before = sorted(run_folder.rglob("*"))
    path = write_page(toy.of_run(), run_folder, title="A run", next_steps=["vqvae2 sample runs/a"])
    assert path.read_text() == run_page.source
    assert sorted({*run_folder.rglob("*")} - {path}) == before


def test_sections_name_what_they_answer_and_what_good_is(run_page: Any, page: Any) -> None:
    for section, words in (("likelihood", "as table 1"), ("accuracy", "as table 2"), ("dial", "as figure 7")):
        assert f"{words} of Razavi et al. 2019" in page.text[section]
    for read_page, sections in ((run_page, OF_RUN), (page, OF_EVALUATION)):
        assert all("Good:" in read_page.text[section] for section in sections[1:])


def test_cards_sum_up(page: Any) -> None:
    shown = ["25.1 dB", "MSE 0.0123", "SSIM 0.905", f"81{PERCENT} top", "4.63 top", "3.55 bottom", "0.345", "1/69.6"]
    shown += ["3.00 samples", "1.00 held out", f"54{PERCENT} of 81{PERCENT}", "0.43 Classifier", "1,234 images"]
    for words in shown:
        assert words in page.text["summary"]


def test_likelihoods_and_errors_stand_beside_the_paper_s(page: Any, run_page: Any, render: Any) -> None:
    assert page.row("NLL top, nats per code") == ["3.14", "3.21", "3.40", "3.41"]
    assert page.row("MSE") == ["0.0111", "0.0123", "0.0047", "0.0050"]
    assert run_page.row("MSE")[:2] == [DASH, "0.0123"]
    assert page.row("PSNR, dB") == ["25.6", "25.1", DASH, DASH]
    assert page.row("SSIM") == ["0.912", "0.905", DASH, DASH]
    assert page.row("bits per pixel, by the priors")[1] == "0.345"
    assert page.row("top", "123") == ["128", f"81{PERCENT}", "17", "123", "0.0456"]
    cost = next(row for row in page.cells if row[0].startswith("bottom ") and "4.05" in row)
    assert cost[1:] == ["2.46", "4.05", "4.25", "4.85", f"49{PERCENT}", "2.35", "0.11", "3.55"]
    found = toy.likelihood()
    mid = dataclasses.replace(found, levels=(dataclasses.replace(found.levels[0], name="mid"),))  # not in the paper
    assert render(toy.bare(likelihood=mid)).row("NLL mid, nats per code") == ["3.14", "3.21", DASH, DASH]


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ((1.0, 1.0), "The priors of top and bottom overfit"),
        ((1.0, 2.4), "The prior of top overfits"),
        ((3.2, 2.4), "No gap is above a tenth of the cost"),
    ],
)
def test_a_large_gap_is_called_overfitting_with_what_helps(render: Any, train: tuple[float, float], words: str) -> None:
    visible = render(toy.bare(likelihood=toy.likelihood(*train))).visible
    assert words in visible
    assert ("horizontal_flips" in visible) == ("overfit" in words)


def test_accuracies_stand_beside_the_paper_s(page: Any) -> None:
    assert page.row("real") == ["81.23", f"100{PERCENT}", "95.12", "0.654", "73.09", f"100{PERCENT}", "91.47"]
    assert page.row("samples", "54.32")[:4] == ["54.32", f"67{PERCENT}", DASH, "1.20"]
    assert page.row("samples of BigGAN-deep")[4:] == ["42.65", f"58{PERCENT}", "65.92"]
    assert "654 images of each kind" in page.visible


def test_every_score_of_every_set_and_rate_is_shown(page: Any) -> None:
    for number, kind in enumerate(toy.SETS, 1):
        to_training, *others = [f"{number + 0.01 * index:.2f}" for index in range(7)]
        to_held_out = "\N{EN DASH}" if kind == "validation images" else f"{number + 0.5:.2f}"
        assert page.row(kind, f"{number}.00") == [to_training, to_held_out, *others]
    for rate, score in (("1", 0.315), ("0.25", 0.625), ("0.05", 0.875)):
        assert page.row(rate) == [f"{score:.3f}", *(f"{5.0 + score + 0.01 * index:.2f}" for index in range(7))]
    assert page.row("Classifier", "0.432") == ["0.432", "1.76", "1.65"]
    assert "Each rate keeps 30 of up to 2,345 samples. The best rate is 1:" in page.text["dial"]


def test_every_field_of_every_protocol_is_folded(page: Any) -> None:
    for section, count in (("likelihood", 2), ("accuracy", 1), ("dial", 1), ("distances", 1), ("memorization", 1)):
        assert page.text[section].count("Protocol of") == count
        for field in ("training images of toys", "f00d", "777", "10, 12", "crop, Lanczos", "9.8.7"):
            assert page.text[section].count(field) == count
    assert page.text["dial"].count("bicubic to 224") == 1


def test_circumstances_and_reasons_of_what_is_left_out_are_shown(page: Any, run_page: Any, render: Any) -> None:
    reason = "`accuracy` needs images with <labels>"
    assert render(toy.bare(left_out={"accuracy": reason})).row("accuracy") == [reason]
    for shown in ("1,234", "2,345", "48", "abacus", "9.8.7", "quality, Classifier", "1 min 15 s", "1 min 26 s in all"):
        assert shown in page.text["circumstances"]
    assert "2 files could not be read" in run_page.text["summary"]
    assert "tokenizer.strides" in run_page.text["circumstances"]


def test_a_page_says_which_decoder_made_its_images(read: Any, run_folder: Path) -> None:
    words = "decoded by the sharp decoder"
    hashes = dataclasses.replace(toy.bare().pipeline, sharp_decoder="2" * 32)
    for results in (toy.of_run(), toy.of_evaluation()):
        faithful = read(render_page(results, run_folder, title="T"))
        assert "sharp" not in faithful.visible
        assert faithful.row("decoder") == ["faithful"]
        sharp = dataclasses.replace(results, pipeline=hashes, decoder="sharp")
        page = read(render_page(sharp, run_folder, title="T"))
        assert (page.row("decoder"), page.row("sharp_decoder")) == (["sharp"], ["2" * 32])
        assert page.text["summary"].count(words) == 2
        assert words in page.text["likelihood"]
        if results.quality:
            assert f"In features of Classifier, {words}" in page.text["distances"]
        else:
            assert "Rows of fewer levels are by the sharp decoder." in page.text["reconstructions"]
            assert "the sharp decoder turns them into pixels" in page.text["samples"]


def test_the_training_of_a_sharp_decoder_is_shown(read: Any, run_page: Any, tmp_path: Path) -> None:
    assert "Sharp decoder" not in run_page.text["training"]
    folder = tmp_path / "sharp-decoder"
    folder.mkdir()
    row = dict.fromkeys(("reconstruction_mse", "validation_mse", "feature_distance"), 0.1)
    (folder / "log.jsonl").write_text("".join(json.dumps(row | {"step": step}) + "\n" for step in (1, 2)))
    text = read(render_page(toy.of_run(), tmp_path, title="T")).text["training"]
    assert "Sharp decoder: mean squared error" in text
    assert "Sharp decoder: distance in features" in text
    assert "of a sharp decoder, which does not aim at the least error, the last one." in text


def test_two_networks_have_a_table_and_charts_each(read: Any, tmp_path: Path) -> None:
    results = toy.of_evaluation(Classifier=0.0, Lite0=10.0)
    toy.save_pictures(results, tmp_path)
    page = read(render_page(results, tmp_path, title="T"))
    assert page.tags.count("svg") == 2 * 6
    for name in ("Classifier-FD", "Lite0-FD", "Classifier-KD", "Lite0-KD"):
        assert name in page.text["dial"]
        assert name in page.text["distances"]
    assert [row[1] for row in page.cells if row[0] == "noise"] == ["4.00", "14.0"]
    # The rows of the dial once, since they are the same samples, and those of memorization for each network.
    assert page.tags.count("img") == 3 * toy.NUM_SHOWN + 2 * 4 * toy.NUM_SHOWN


@pytest.mark.parametrize(("network", "is_standard"), [("Inception-v3", True), ("Lite0", False), ("inception", False)])
def test_only_inception_v3_has_a_fid(render: Any, network: str, is_standard: bool) -> None:
    page = render(toy.bare(quality={network: toy.quality(network)}))
    header = next(row for row in page.cells if row[1:] and "coverage" in row)
    frechet, kernel = ("FID", "KID") if is_standard else (f"{network}-FD", f"{network}-KD")
    assert header[1:4] == [frechet, f"{frechet} to held-out images", kernel]
    assert page.row("published: samples, unfiltered") == ["31.11", "about 45", "0.36", "0.57"]


def test_fewer_images_than_features_and_sets_out_of_order_are_warned_of(render: Any) -> None:
    dial = {"Lite0": toy.dial("Lite0")}
    for num_features, count in ((30, 0), (51, 2)):  # 30 images in the dial, 50 in the sets
        quality = {"Lite0": toy.quality("Lite0", num_features=num_features)}
        assert render(toy.bare(quality=quality, dial=dial)).visible.count("biased upwards") == count
    found = toy.quality("Lite0")
    assert "Out of order" not in render(toy.bare(quality={"Lite0": found})).visible
    turned = dataclasses.replace(found, sets=(found.sets[2], found.sets[1]))
    visible = render(toy.bare(quality={"Lite0": turned})).visible
    assert "reconstructions of validation images are nearer to the training images than samples" in visible


def test_pictures_are_embedded_with_a_label_for_each_row(page: Any, tmp_path: Path) -> None:
    toy.save_pictures(toy.of_evaluation(), tmp_path)
    shown = embedded(page.source)
    assert [pixels.shape for pixels in shown] == [(*toy.SIZE, 3)] * (3 + 4) * toy.NUM_SHOWN
    saved = read_grid(tmp_path / "dial.png", toy.SIZE)
    assert np.array_equal(shown[: 3 * toy.NUM_SHOWN], saved.reshape(-1, *toy.SIZE, 3))
    for label in ("rate 0.25", "mean score 0.62", "nearest", "second", "third"):
        assert label in page.visible


def test_a_run_shows_its_reconstructions_samples_and_completions(run_page: Any) -> None:
    assert run_page.tags.count("img") == 3 * toy.NUM_SHOWN + 2 * 7 + 6 * toy.NUM_SHOWN
    for label in ("top only 12.3 dB", "all levels 23.4 dB"):
        assert label in run_page.text["reconstructions"]
    rows = re.findall(r"Half|Levels|original|given|variant 1", run_page.text["completions"].split("before them.")[1])
    assert " ".join(rows) == "Half original given variant 1 Levels original given variant 1"
    assert all(name in run_page.text["samples"] for name in ("cats", "dogs"))


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (4, np.uint8), (1, np.uint16)])
def test_pictures_of_any_channels_are_embedded_in_8_bits(tmp_path: Path, channels: int, dtype: type) -> None:
    toy.save_pictures(toy.of_run(), tmp_path, channels=channels, dtype=dtype)
    shown = embedded(render_page(toy.of_run(), tmp_path, title="T"))
    assert len(shown) == 3 * toy.NUM_SHOWN + 2 * 7 + 6 * toy.NUM_SHOWN
    assert all(pixels.dtype == np.uint8 for pixels in shown)


@pytest.mark.parametrize("broken", ["missing", "not a picture", "of other images", "outside"])
def test_pictures_that_cannot_be_shown_are_left_out(read: Any, tmp_path: Path, broken: str) -> None:
    found = toy.memorization("Lite0")
    results = toy.bare(memorization={"Lite0": found})
    toy.save_pictures(results, tmp_path)
    assert "img" in read(render_page(results, tmp_path, title="T")).tags
    folder = tmp_path / "evaluation"
    folder.mkdir()
    if broken == "outside":
        results.memorization["Lite0"] = dataclasses.replace(found, picture=f"../{found.picture}")
    if broken == "not a picture":
        (folder / found.picture).write_bytes(b"?")
    if broken == "of other images":
        Image.new("RGB", (40, 41)).save(folder / found.picture)
    page = read(render_page(results, folder, title="T"))
    assert "memorization" in page.sections
    assert "img" not in page.tags


def test_codes_of_a_run_are_painted_and_counted(
    pipeline: Pipeline, image_store: ImageStore, read: Any, tmp_path: Path
) -> None:
    codes = extract_codes(pipeline.tokenizer, image_store, tmp_path / "codes")
    toy.save_pictures(toy.of_run(), tmp_path)
    page = read(render_page(toy.of_run(), tmp_path, title="T"))
    assert page.sections[2] == "codes"
    for name, (height, width), maps in zip(toy.LEVELS, codes.shapes, codes.maps, strict=True):
        assert f"{height} \N{MULTIPLICATION SIGN} {width} codes" in page.text["codes"]
        used = len(np.unique(maps[codes.indices("validation")]))
        assert f"{name}: {used} of 5 codes in use" in page.text["codebooks"]


def test_curves_are_drawn_in_the_page_s_colours_and_trainings_say_why_they_ended(run_page: Any) -> None:
    words = ("training images", "validation images", "loss, with dropout", "Codebook perplexity", "all steps done")
    for shown in (*words, "stopped: no better validation since step 750"):
        assert shown in run_page.text["training"]
    svg = "".join(re.findall(r"<svg.*?</svg>", run_page.source, flags=re.DOTALL))
    assert "var(--train)" in svg
    assert not re.search(r"(fill|stroke): #|font-family", svg)


def test_hostile_text_is_escaped(read: Any, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>$x$'
    results = toy.of_evaluation(**{evil: 0.0})
    changed = json.loads(json.dumps(results.to_dict()).replace("training images of toys", "EVIL"))
    changed |= {"left_out": {evil: evil}, "seconds": {evil: 1.0}, "config": {evil: {evil: evil}}}
    changed["likelihood"]["levels"][0]["name"] = changed["reconstruction"]["levels"][0]["name"] = evil
    changed["accuracy"]["classifiers"][0]["trained_on"] = changed["quality"][evil]["sets"][0]["set"] = evil
    changed["dial"][evil]["picture"] = changed["memorization"][evil]["picture"] = evil
    (tmp_path / "results.json").write_text(json.dumps(changed).replace("EVIL", json.dumps(evil)[1:-1]))
    hostile = Results.read(tmp_path / "results.json")
    page = read(render_page(hostile, tmp_path, title=evil, next_steps=[evil]))
    assert not page.open
    assert "script" not in page.tags
    assert evil in page.visible
