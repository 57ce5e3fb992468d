"""The verb that trains a classifier, as a user would type it."""

import json
import shutil

import pytest

from vqvae2.cli.main import main
from vqvae2.config import Lite0Config
from vqvae2.models.checkpoint import load_model
from vqvae2.models.classifier import ResNetClassifier

_COMMON = ["--device=cpu", "--precision=float32"]
TOY = [
    *_COMMON,
    *("--images.size", "16", "16"),
    *("--training.steps=20", "--training.batch-size=8", "--training.max-validations=2"),
]
RESNET = ["--network.hidden-channels=8", "--network.num-blocks", "1", "1"]


@pytest.fixture(scope="module")
def shared_classifier(shared_images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "classifier"
    assert main(["train-classifier", str(shared_images), "--out", str(folder), *TOY, *RESNET]) == 0
    return folder


@pytest.fixture
def classifier_folder(shared_classifier, tmp_path):
    return shutil.copytree(shared_classifier, tmp_path / "classifier")


def test_a_classifier_is_measured_and_described_and_a_finished_training_is_left_as_it_is(
    shared_classifier, shared_images, done
):
    before = (shared_classifier / "model.safetensors").read_bytes()
    results = done("train-classifier", shared_images, "--out", shared_classifier, "--stage-minutes=9", *_COMMON)
    assert results["classifier"] == str(shared_classifier / "model.safetensors")
    assert results["classes"] == 2
    assert results["validation"].keys() == {"top1", "loss", "num_images"}
    assert results["last_step"] == 20  # whatever time it is now given
    assert (shared_classifier / "model.safetensors").read_bytes() == before
    model, _ = load_model(shared_classifier / "model.safetensors", kind="classifier")
    assert isinstance(model, ResNetClassifier)
    described = done("info", shared_classifier)
    assert described["kind"] == "classifier"
    assert described["config"]["classes"] == ["squares", "stripes"]
    assert described["metadata"]["validation"].keys() == {"score", "accuracy", "loss"}


def test_minutes_become_steps(image_folder, tmp_path, call):
    code, out, errors = call(
        "train-classifier", image_folder, "--out", tmp_path / "c", *TOY, *RESNET, "--stage-minutes=0.02", "--json"
    )
    assert code == 0, errors
    assert "timing a few steps" in errors
    assert json.loads(out)["last_step"] >= 20


def test_a_run_s_images_and_split_are_taken_as_they_are(run_folder, tmp_path, refused, done):
    done("train-classifier", run_folder, "--out", tmp_path / "c", *_COMMON, "--training.steps=3", *RESNET)
    assert not (tmp_path / "c" / "images").exists()
    _, header = load_model(tmp_path / "c" / "model.safetensors", kind="classifier")
    assert header.metadata["image_size"] == [16, 16]
    line = refused("train-classifier", run_folder, "--out", tmp_path / "d", *_COMMON, "--images.size", "8", "8")
    assert "`images` must be as in the run" in line
    assert "leave these options out" in line
    assert not (tmp_path / "d").exists()


def test_lite0_is_taken_by_name(image_folder, tmp_path, done):
    arguments = ["--classifier=lite0", "--network.input-size=32", "--network.no-is-frozen", "--dry-run", "--json"]
    network = done("train-classifier", image_folder, "--out", tmp_path / "c", *TOY, *arguments)["network"]
    assert network == Lite0Config(input_size=32, is_frozen=False).to_dict()
    assert not (tmp_path / "c").exists()


def test_another_config_needs_force_which_leaves_other_files(classifier_folder, image_folder, refused, done):
    (classifier_folder / "notes.txt").write_text("mine")
    arguments = ["train-classifier", image_folder, "--out", classifier_folder, *TOY, *RESNET, "--training.seed=1"]
    assert "(`training.seed` is 0, asked for 1); ask for the same" in refused(*arguments)
    line = refused("train-classifier", image_folder, "--out", classifier_folder, *_COMMON, "--classifier=lite0")
    assert "holds a classifier with another config" in line
    done(*arguments, "--force")
    assert (classifier_folder / "notes.txt").read_text() == "mine"


def test_other_images_are_refused(classifier_folder, image_folder, tmp_path, refused):
    shutil.copytree(image_folder, tmp_path / "others")
    (tmp_path / "others" / "squares" / "0.png").unlink()
    line = refused("train-classifier", tmp_path / "others", "--out", classifier_folder, *_COMMON)
    assert "was begun with 40 files, of which 39 are among these 39" in line


def test_a_user_s_files_are_not_touched(image_folder, tmp_path, refused):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "log.jsonl").write_text("mine")
    line = refused("train-classifier", image_folder, "--out", tmp_path / "mine", *TOY, "--force")
    assert "which are not of a classifier" in line
    assert (tmp_path / "mine" / "log.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("images", "flags", "part"),
    [
        ("squares", [], "`classes` must name at least 2 classes, got 0"),
        ("", ["--stage-minutes=-1"], "`minutes` must be at least 0, got -1"),
    ],
)
def test_images_and_options_that_do_not_fit(image_folder, tmp_path, refused, images, flags, part):
    assert part in refused("train-classifier", image_folder / images, "--out", tmp_path / "c", *TOY, *flags)
    assert flags or not (tmp_path / "c").exists()
