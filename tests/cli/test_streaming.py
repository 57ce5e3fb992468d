"""Runs on images that stay where they are."""

import json
import tarfile
from pathlib import Path

import pytest

from vqvae2.cli.main import _parse
from vqvae2.data import CodeStore, ImageStore, StreamedImages, open_images, open_prepared

STREAM = "--images.stream"


@pytest.fixture
def shards(image_folder, tmp_path):
    """The images of the folder in two archives, class by class."""
    for name in ("squares", "stripes"):
        path = tmp_path / "shards" / f"{name}.tar"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for file in sorted((image_folder / name).iterdir()):
                archive.add(file, f"{name}/{file.name}")
    return tmp_path / "shards"


def codes_of(run):
    codes = CodeStore.open(run / "codes")
    return [level.tolist() for level in codes.maps], codes.names, codes.labels.tolist(), codes.is_validation.tolist()


def test_a_streamed_run_has_the_tokenizer_and_codes_of_a_stored_one(shared_run, shared_images, tmp_path, call, toy):
    run = tmp_path / "run"
    for command in (["train-tokenizer", shared_images, "--out", run, *toy, STREAM], ["extract-codes", run, *toy[:2]]):
        code, _, errors = call(*command)
        assert code == 0, errors
    assert codes_of(run) == codes_of(shared_run)
    model = "tokenizer/model.safetensors"
    assert (run / model).read_bytes() == (shared_run / model).read_bytes()
    assert [path.name for path in (run / "images").iterdir()] == ["index.json"]
    code, out, _ = call("info", run / "images", "--json")
    assert (code, json.loads(out)["images"]) == (0, 40)


def test_all_verbs_take_shards(shards, tmp_path, call, toy):
    run, common = tmp_path / "run", ["--device=cpu", "--precision=float32"]
    code, _, errors = call("run", f"{shards}/*.tar", "--out", run, *toy, STREAM)
    assert code == 0, errors
    assert isinstance(open_prepared(run / "images"), StreamedImages)
    assert open_prepared(run / "images").classes == ("squares", "stripes")
    code, _, errors = call("run", f"{shards}/*.tar", "--out", run, *common)
    assert (code, errors.count("done before")) == (0, 5)
    few = ["--training.steps=2", "--training.batch-size=8"]
    for images in (run, shards):
        out = tmp_path / f"classifier-{images.name}"
        code, _, errors = call("train-classifier", images, "--out", out, *common, *few)
        assert code == 0, errors
    code, out, errors = call(
        "evaluate", run, "--data", shards, "--metrics=reconstruction", "--features", "--device=cpu"
    )
    assert code == 0, errors
    assert isinstance(open_prepared(tmp_path / "classifier-shards/images"), ImageStore)


@pytest.mark.parametrize("command", ["train-tokenizer", "train-classifier"])
def test_images_are_opened_once_though_the_command_is_parsed_twice(command, shards, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("vqvae2.open_images", lambda text: opened.append(text) or open_images(text))
    verb = _parse([command, f"{shards}/*.tar", "--out", str(tmp_path / "out")])
    assert len(verb.reopen()) == 40
    assert opened == [Path(f"{shards}/*.tar")]


def test_broken_images_of_a_stream_are_named_once_and_replaced(image_folder, tmp_path, call, toy):
    for number in (3, 7):
        (image_folder / f"stripes/{number}.png").write_bytes(b"broken")
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", "--json", *toy, STREAM)
    assert code == 0, errors
    for number in (3, 7):
        told = (
            f"  stripes/{number}.png cannot be read, another image of its class takes its place: not a readable image"
        )
        assert errors.count(told) == 1
    results = json.loads(out)
    assert sorted(entry["file"] for entry in results["skipped_files"]) == ["stripes/3.png", "stripes/7.png"]
    (maps, names, *_) = codes_of(tmp_path / "run")
    assert [len(level) for level in maps] == [40, 40]
    assert len(names) == 40


def test_many_broken_images_are_told_in_a_few_lines(image_folder, tmp_path, call, toy):
    for number in range(12):
        (image_folder / f"stripes/{number}.png").write_bytes(b"broken")
    code, _, errors = call("train-tokenizer", image_folder, "--out", tmp_path / "run", *toy, STREAM)
    code, _, more = call("extract-codes", tmp_path / "run", "--device=cpu")
    assert code == 0, errors
    assert errors.count("takes its place") <= 5
    assert "  10 files so far cannot be read; skipped.jsonl beside the index names them" in errors + more


def test_a_shard_that_is_cut_later_stops_with_one_line(shards, tmp_path, call, refused, toy):
    code, _, errors = call("train-tokenizer", shards, "--out", tmp_path / "run", *toy, STREAM)
    assert code == 0, errors
    path = shards / "stripes.tar"
    path.write_bytes(path.read_bytes()[:5000])
    assert "stripes.tar is cut" in refused("extract-codes", tmp_path / "run", "--device=cpu")
    path.unlink()
    assert "must be the 40 files that" in refused("extract-codes", tmp_path / "run", "--device=cpu")
