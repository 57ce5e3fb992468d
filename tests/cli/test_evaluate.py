"""`evaluate`, and `sample` with rejection, end to end and at toy size."""

import json
import shutil

import pytest

CLASSIFIER = ["--training.steps=10", "--training.batch-size=8", "--network.hidden-channels=4"]
TOY = [
    *("--device=cpu", "--precision=float32", "--features=classifier", "--num-samples=40"),
    *("--classifier-network.hidden-channels=4", "--classifier-network.num-blocks", "1"),
    *("--classifier-epochs=0", "--classifier-training.steps=6", "--classifier-training.batch-size=8"),
    *("--acceptance-rates", "1", "0.5", "0.25"),
]


@pytest.fixture
def run_folder(image_folder, tmp_path, call, toy):
    """A finished run with enough held-out images to compare."""
    code, _, errors = call("run", image_folder, "--out", tmp_path / "run", *toy, "--images.validation-fraction=0.4")
    assert code == 0, errors
    return tmp_path / "run"


@pytest.fixture
def classifier_folder(run_folder, call):
    """A classifier where `sample` looks for it."""
    code, _, errors = call("train-classifier", run_folder, "--out", run_folder / "classifier", *CLASSIFIER)
    assert code == 0, errors
    return run_folder / "classifier"


def test_a_run_is_evaluated_on_its_own_images(run_folder, call):
    code, out, errors = call("evaluate", run_folder, "--json", *TOY)
    assert code == 0, errors
    results = json.loads(out)
    folder = run_folder / "evaluation"
    assert results.pop("report") == str(folder / "report.html")
    assert json.loads((folder / "results.json").read_text()) == results
    assert results["left_out"] == {}
    assert "classification accuracy" in (folder / "report.html").read_text().lower()
    assert results["quality"]["Classifier"]["protocol"]["resize"] == "crop, Lanczos"


def test_a_pipeline_is_evaluated_on_a_folder_of_images(run_folder, image_folder, tmp_path, call):
    (run_folder / "run.json").unlink()  # as a pipeline that somebody else has trained
    arguments = [
        "evaluate",
        run_folder,
        "--data",
        image_folder,
        "--out",
        tmp_path / "out",
        "--metrics",
        "reconstruction",
    ]
    code, out, errors = call(*arguments, "--json", *TOY)
    assert code == 0, errors
    assert json.loads(out)["num_images"]["train"] > 20
    code, again, errors = call(*arguments, "--json", *TOY)
    assert json.loads(again) == json.loads(out)
    assert "prepare images: done before" in errors


def test_dry_run_prints_the_config_and_leaves_nothing(run_folder, call):
    code, out, _ = call("evaluate", run_folder, "--dry-run", "--json", *TOY)
    assert code == 0
    assert json.loads(out)["num_samples"] == 40
    assert not (run_folder / "evaluation").exists()


def test_force_begins_an_evaluation_anew(run_folder, call, refused):
    call("evaluate", run_folder, *TOY, "--metrics", "reconstruction")
    line = refused("evaluate", run_folder, *TOY, "--metrics", "reconstruction", "--seed=1")
    assert "holds an evaluation with another config" in line
    code, _, errors = call("evaluate", run_folder, *TOY, "--metrics", "reconstruction", "--seed=1", "--force")
    assert code == 0, errors


def test_a_folder_of_other_things_is_left_alone(run_folder, tmp_path, refused):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for flags in ([], ["--force"]):
        line = refused("evaluate", run_folder, "--out", tmp_path / "mine", *TOY, *flags)
        assert "must be a new or empty folder, or that of an evaluation" in line
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_pipeline_without_its_images_asks_for_some(run_folder, refused):
    (run_folder / "run.json").unlink()
    assert "`data` must be a folder of real images" in refused("evaluate", run_folder, *TOY)


def test_images_without_labels_are_named_where_a_metric_needs_them(run_folder, image_folder, tmp_path, refused):
    (tmp_path / "flat").mkdir()
    for path in image_folder.rglob("*.png"):
        shutil.copy(path, tmp_path / "flat" / f"{path.parent.name}-{path.name}")
    line = refused(
        "evaluate", run_folder, "--data", tmp_path / "flat", "--out", tmp_path / "out", "--metrics", "accuracy", *TOY
    )
    assert "`accuracy` needs images with labels, and these have none; sub-folders are classes" in line


def test_a_weights_file_with_another_hash_is_refused(run_folder, tmp_path, refused):
    (tmp_path / "weights.pth").write_bytes(b"not these")
    line = refused(
        *("evaluate", run_folder, *TOY, "--features", "inception", "--inception-weights", tmp_path / "weights.pth")
    )
    assert "6726825d" in line
    assert "weights.pth" in line


def test_the_best_fraction_is_kept_with_its_scores(run_folder, classifier_folder, tmp_path, call):
    out = tmp_path / "best"
    code, printed, errors = call(
        *("sample", run_folder, "--out", out, "--num-images=6", "--acceptance-rate=0.25", "--json", "--device=cpu")
    )
    assert code == 0, errors
    assert json.loads(printed)["acceptance_rate"] == 0.25
    listing = json.loads((out / "samples.json").read_text())
    assert listing["num_drawn"] == 24
    assert listing["request"]["classifier"]
    files = sorted(path.name for path in out.glob("0*.png"))
    assert files == [row["file"] for row in listing["images"]]
    assert len(files) == 6
    assert all(0.0 <= row["score"] <= 1.0 for row in listing["images"])
    everything = tmp_path / "all"
    call("sample", run_folder, "--out", everything, "--num-images=24", "--acceptance-rate=1", "--device=cpu")
    rows = json.loads((everything / "samples.json").read_text())["images"]
    for label in {row["class"] for row in rows}:
        scores = sorted((row["score"] for row in rows if row["class"] == label), reverse=True)
        kept = sorted((row["score"] for row in listing["images"] if row["class"] == label), reverse=True)
        assert kept == pytest.approx(scores[: len(kept)], abs=1e-3)


def test_a_threshold_keeps_what_reaches_it(run_folder, classifier_folder, tmp_path, call):
    out = tmp_path / "sure"
    code, _, errors = call(*("sample", run_folder, "--out", out, "--num-images=5", "--threshold=0.3", "--device=cpu"))
    assert code == 0, errors
    listing = json.loads((out / "samples.json").read_text())
    assert [row["score"] >= 0.3 for row in listing["images"]] == [True] * 5
    assert listing["acceptance_rate"] == 5 / listing["num_drawn"]


def test_rejection_without_a_classifier_says_how_to_train_one(run_folder, tmp_path, refused):
    line = refused("sample", run_folder, "--out", tmp_path / "s", "--acceptance-rate=0.5", "--device=cpu")
    assert "vqvae2 train-classifier IMAGES --out" in line
    assert not (tmp_path / "s").exists()


def test_a_rate_that_is_none_is_refused(run_folder, classifier_folder, tmp_path, refused):
    line = refused("sample", run_folder, "--out", tmp_path / "s", "--acceptance-rate=1.5", "--device=cpu")
    assert "`acceptance_rate` must be in 0..1, 0 excluded, got 1.5" in line
    assert not (tmp_path / "s").exists()


def test_a_classifier_of_other_classes_is_refused(run_folder, classifier_folder, image_folder, tmp_path, call, refused):
    (image_folder / "squares").rename(image_folder / "rectangles")
    code, _, errors = call(
        *("train-classifier", image_folder, "--out", tmp_path / "other", *CLASSIFIER, "--images.size", "16", "16")
    )
    assert code == 0, errors
    line = refused(
        *("sample", run_folder, "--out", tmp_path / "s", "--acceptance-rate=0.5", "--classifier", tmp_path / "other")
    )
    assert "its classes (squares, stripes), got 3 and rectangles, stripes" in line
