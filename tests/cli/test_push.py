"""`push`: a pipeline on the Hub, from the command line."""

import dataclasses
import json

import pytest

import toy_results as toy


@pytest.fixture
def folder(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    dataclasses.replace(toy.of_run(), pipeline=pipeline.fingerprints()).write(tmp_path / "p" / "results.json")
    return tmp_path / "p"


def test_a_dry_run_shows_card_and_files_and_asks_nobody(call, folder):
    code, out, _ = call("push", folder, "me/emoji", "--license", "mit", "--data-name", "Emoji", "--dry-run", "--json")
    results = json.loads(out)
    assert code == 0
    assert results["repository"] == "me/emoji"
    parts = [f"{part}/model.safetensors" for part in ("prior-bottom", "prior-top", "tokenizer")]
    assert [file["file"] for file in results["files"]] == ["README.md", "config.json", *parts]
    assert "license: mit" in results["card"]
    assert "Trained on: Emoji." in results["card"]
    assert "MSE 0.0123 with pixels in -1..1" in results["card"]
    assert 'Pipeline.from_pretrained("me/emoji")' in results["card"]


def test_a_dry_run_can_be_read(call, folder):
    code, out, _ = call("push", folder, "me/emoji", "--dry-run")
    assert code == 0
    assert "## Sizes" in out
    assert "file config.json, bytes" in out


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        *(("p", [name], "`repo_id` must be the id of a repository") for name in ("emoji", "me/emoji/x", "../emoji")),
        ("p", ["me/emoji", "--license", "My Licence", "--dry-run"], "`license` must be a short name"),
        ("", ["me/emoji"], "is not a pipeline"),
    ],
)
def test_what_cannot_be_pushed(refused, folder, name, arguments, part):
    assert part in refused("push", folder.parent / name, *arguments)
