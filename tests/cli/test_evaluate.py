"""`evaluate`, and `sample` with rejection, end to end and at toy size."""

import json
import re
import shutil

import pytest

from vqvae2.cli.main import main
from vqvae2.data import BuiltinImages

CLASSIFIER = ["--training.steps=10", "--training.batch-size=8", "--network.hidden-channels=4"]
TOY = [
    *("--device=cpu", "--precision=float32", "--features=classifier", "--num-samples=40"),
    *("--classifier-network.hidden-channels=4", "--classifier-network.num-blocks", "1"),
    *("--classifier-epochs=0", "--classifier-training.steps=6", "--classifier-training.batch-size=8"),
    *("--acceptance-rates", "1", "0.5", "0.25"),
]


@pytest.fixture(scope="module")
def shared_run(shared_images, tmp_path_factory, toy):
    """A finished run with enough held-out images to compare, and a classifier where `sample` looks for it."""
    run = str(tmp_path_factory.mktemp("shared") / "run")
    assert main(["run", str(shared_images), "--out", run, *toy, "--images.validation-fraction=0.4"]) == 0
    assert main(["train-classifier", run, "--out", f"{run}/classifier", *CLASSIFIER]) == 0
    return run


def test_a_run_is_evaluated_on_its_own_images_and_a_dry_run_leaves_nothing(run_folder, call):
    code, out, _ = call("evaluate", run_folder, "--dry-run", "--json", *TOY)
    assert (code, json.loads(out)["num_samples"]) == (0, 40)
    assert not (run_folder / "evaluation").exists()
    code, out, errors = call("evaluate", run_folder, "--json", *TOY)
    assert code == 0, errors
    results = json.loads(out)
    folder = run_folder / "evaluation"
    assert results.pop("report") == str(folder / "report.html")
    assert json.loads((folder / "results.json").read_text()) == results
    assert "left_out" not in results
    assert "classification accuracy" in (folder / "report.html").read_text().lower()
    protocol = results["quality"]["Classifier"]["protocol"]
    assert (protocol["resize"], protocol["reference"]) == ("crop, Lanczos", "training images of run")


def test_what_needs_no_network_is_measured_without_one(run_folder, call, refused):
    weights = ("--features", "vgg16", "--vgg16-weights", run_folder / "missing.pth")
    refused("evaluate", run_folder, *TOY, *weights, "--metrics", "reconstruction", "quality")
    code, out, errors = call(
        "evaluate", run_folder, *TOY, *weights, "--metrics", "reconstruction", "likelihood", "--json"
    )
    assert code == 0, errors
    assert {"reconstruction", "likelihood"} <= json.loads(out).keys()


def test_each_decoder_is_evaluated_in_a_folder_of_its_own(run_folder, call, done, refused):
    training = ("--training.steps=2", "--training.batch-size=4", "--training.loss-network=none", "--stage-minutes=0")
    done("train-decoder", run_folder, "--precision=float32", *training)
    evaluate = ("evaluate", run_folder, *TOY, "--metrics", "reconstruction", "--json")
    found = {}
    for decoder, folder, flags in (
        ("faithful", "evaluation", ["--decoder=faithful"]),
        ("sharp", "evaluation-sharp", []),  # which is the default
    ):
        code, out, errors = call(*evaluate, *flags)
        assert code == 0, errors
        found[decoder] = json.loads(out)
        assert found[decoder]["decoder"] == decoder
        assert found[decoder]["report"] == str(run_folder / folder / "report.html")
        assert f"vqvae2 evaluate: run, {decoder} decoder" in (run_folder / folder / "report.html").read_text()
    assert found["sharp"]["reconstruction"] != found["faithful"]["reconstruction"]
    line = refused(*evaluate[:-1], "--out", run_folder / "evaluation")
    assert "`decoder` is 'faithful', asked for 'sharp'" in line


def test_a_pipeline_is_evaluated_on_a_folder_of_images(run_folder, image_folder, tmp_path, call, refused):
    (run_folder / "run.json").unlink()  # as a pipeline that somebody else has trained
    assert "`data` must be a folder of real images" in refused("evaluate", run_folder, *TOY)
    arguments = ("evaluate", run_folder, "--data", image_folder, "--out", tmp_path / "out", "--json", *TOY)
    code, out, errors = call(*arguments, "--metrics", "reconstruction")
    assert code == 0, errors
    assert json.loads(out)["num_images"]["train"] > 20
    code, again, errors = call(*arguments, "--metrics", "reconstruction")
    assert json.loads(again) == json.loads(out)
    assert "prepare images: done before" in errors


def test_force_begins_an_evaluation_anew(run_folder, call, refused):
    reconstruction = ("evaluate", run_folder, *TOY, "--metrics", "reconstruction")
    call(*reconstruction)
    (run_folder / "evaluation" / "results.json").write_text('{"reconstruction": {"levels": []}}')
    assert "results.json must be vqvae2.results of version 1" in refused(*reconstruction)
    assert "another config" in refused(*reconstruction, "--seed=1")
    code, _, errors = call(*reconstruction, "--seed=1", "--force")
    assert code == 0, errors


@pytest.mark.parametrize("flags", [[], ["--force"]])
def test_a_folder_of_other_things_is_left_alone(run_folder, tmp_path, refused, flags):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    line = refused("evaluate", run_folder, "--out", tmp_path / "mine", *TOY, *flags)
    assert "must be a new or empty folder, or that of an evaluation" in line
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_images_without_labels_are_named_where_a_metric_needs_them(run_folder, image_folder, tmp_path, refused):
    (tmp_path / "flat").mkdir()
    for path in image_folder.rglob("*.png"):
        shutil.copy(path, tmp_path / "flat" / f"{path.parent.name}-{path.name}")
    data = ("--data", tmp_path / "flat", "--out", tmp_path / "out")
    line = refused("evaluate", run_folder, *data, "--metrics", "accuracy", *TOY)
    assert "`accuracy` needs images with labels" in line


def test_a_weights_file_with_another_hash_is_refused(run_folder, tmp_path, refused):
    (tmp_path / "weights.pth").write_bytes(b"not these")
    weights = ("--features", "inception", "--inception-weights", tmp_path / "weights.pth")
    assert re.search(r"weights\.pth.*6726825d", refused("evaluate", run_folder, *TOY, *weights))


def test_weights_that_must_be_given_are_asked_for(run_folder, refused):
    assert "give it, on the command line with --vgg16-weights" in refused(
        "evaluate", run_folder, *TOY, "--features=vgg16"
    )


def test_the_best_fraction_is_kept_with_its_scores(run_folder, tmp_path, call):
    best, everything = tmp_path / "best", tmp_path / "all"
    rate = ("--num-images=6", "--acceptance-rate=0.25")
    code, printed, errors = call("sample", run_folder, "--out", best, *rate, "--json", "--device=cpu")
    assert code == 0, errors
    assert json.loads(printed)["acceptance_rate"] == 0.25
    listing = json.loads((best / "samples.json").read_text())
    assert listing["num_drawn"] == 24
    assert listing["request"]["classifier"]
    files = sorted(path.name for path in best.glob("0*.png"))
    assert (files, len(files)) == ([row["file"] for row in listing["images"]], 6)
    call("sample", run_folder, "--out", everything, "--num-images=24", "--acceptance-rate=1", "--device=cpu")
    rows = json.loads((everything / "samples.json").read_text())["images"]
    for label in {row["class"] for row in rows}:
        scores = sorted((row["score"] for row in rows if row["class"] == label), reverse=True)
        kept = sorted((row["score"] for row in listing["images"] if row["class"] == label), reverse=True)
        assert kept == pytest.approx(scores[: len(kept)], abs=1e-3)


def test_a_threshold_keeps_what_reaches_it(run_folder, tmp_path, call):
    out = tmp_path / "sure"
    code, _, errors = call("sample", run_folder, "--out", out, "--num-images=5", "--threshold=0.3", "--device=cpu")
    assert code == 0, errors
    listing = json.loads((out / "samples.json").read_text())
    assert [row["score"] >= 0.3 for row in listing["images"]] == [True] * 5
    assert listing["acceptance_rate"] == 5 / listing["num_drawn"]


def test_rejection_without_a_classifier_or_a_rate_is_refused(run_folder, tmp_path, refused):
    sample = ("sample", run_folder, "--out", tmp_path / "s", "--device=cpu")
    assert "`acceptance_rate` must be in 0..1, 0 excluded, got 1.5" in refused(*sample, "--acceptance-rate=1.5")
    shutil.rmtree(run_folder / "classifier")
    assert "vqvae2 train-classifier IMAGES --out" in refused(*sample, "--acceptance-rate=0.5")
    assert not (tmp_path / "s").exists()


def test_a_classifier_of_other_classes_is_refused(run_folder, image_folder, tmp_path, call, refused):
    (image_folder / "squares").rename(image_folder / "rectangles")
    other = tmp_path / "other"
    code, _, errors = call("train-classifier", image_folder, "--out", other, *CLASSIFIER, "--images.size", "16", "16")
    assert code == 0, errors
    rate = ("--acceptance-rate=0.5", "--classifier", other)
    assert "(squares, stripes), got 3 and rectangles" in refused("sample", run_folder, "--out", tmp_path / "s", *rate)


def test_a_pipeline_that_is_no_folder_is_evaluated_into_one(tmp_path, done, refused):
    source, image_folder = BuiltinImages(), tmp_path / "images"
    for index in range(0, len(source), 40):
        path = image_folder / source.names[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read(index))
    evaluate = ("evaluate", "builtin", "--data", image_folder, "--metrics", "reconstruction", "--device=cpu")
    assert "`out` must be a folder, since builtin is none to write into; give one" in refused(*evaluate)
    assert done(*evaluate, "--out", tmp_path / "out")["reconstruction"]["validation"]["mse"] > 0.0
    line = refused("tune-sampling", "builtin", "--data", image_folder, "--out", tmp_path / "out", "--device=cpu")
    assert "`pipeline` must be a folder, whose settings are changed, got builtin" in line
