"""Pipelines go to the Hub and come back, byte for byte; every way to fail is said in one line."""

import json
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from vqvae2.cli.main import main
from vqvae2.errors import CheckpointError, ConfigError, HubError
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline

# `huggingface_hub` uploads in a way that its HTTP client would rather have otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

FILES = {
    "README.md",
    "config.json",
    *(f"{part}/model.safetensors" for part in ("tokenizer", "prior-top", "prior-bottom")),
}


def folder_bytes(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_uploaded_is_what_is_saved_and_comes_back(pipeline, hub, logged_in, tmp_path):
    pipeline.save_pretrained(tmp_path / "saved", name="me/emoji")
    address = pipeline.push_to_hub("me/emoji")
    assert hub.files("me/emoji") == folder_bytes(tmp_path / "saved")
    assert set(hub.files("me/emoji")) == FILES
    assert address.startswith(f"{hub.url}/me/emoji/commit/")
    loaded = Pipeline.from_pretrained("me/emoji")
    loaded.save_pretrained(tmp_path / "again", name="me/emoji")
    assert folder_bytes(tmp_path / "again") == folder_bytes(tmp_path / "saved")
    assert torch.equal(loaded.sample(2), pipeline.sample(2))


def test_a_push_is_one_commit_and_removes_what_the_new_pipeline_lacks(pipeline, hub, logged_in):
    first = pipeline.push_to_hub("me/emoji").rsplit("/", 1)[1]
    hub.repositories["me/emoji"][-1]["notes.txt"] = b"mine"
    Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(16, 24))).push_to_hub("me/emoji", commit_message="smaller")
    assert len(hub.repositories["me/emoji"]) == 3  # the empty one, and one a push
    assert set(hub.files("me/emoji")) == {"README.md", "config.json", "tokenizer/model.safetensors", "notes.txt"}
    assert Pipeline.from_pretrained("me/emoji", revision="main").priors == []
    assert len(Pipeline.from_pretrained("me/emoji", revision=first).priors) == 2


def test_a_sharp_decoder_goes_to_the_hub_and_comes_back_until_it_is_gone(pipeline, sharp_pipeline, hub, logged_in):
    sharp_pipeline.push_to_hub("me/emoji")
    assert set(hub.files("me/emoji")) == FILES | {"sharp-decoder/model.safetensors"}
    assert Pipeline.from_pretrained("me/emoji").fingerprints() == sharp_pipeline.fingerprints()
    pipeline.push_to_hub("me/emoji")
    assert set(hub.files("me/emoji")) == FILES
    assert Pipeline.from_pretrained("me/emoji").decoders == ("faithful",)


def test_only_the_files_of_a_pipeline_are_downloaded(pipeline, hub, logged_in, tmp_path):
    pipeline.push_to_hub("me/emoji")
    for name in ("setup.py", "prior-top/extra.safetensors", "prior-top/a/model.safetensors", "training_state.pt"):
        hub.repositories["me/emoji"][-1][name] = b"import os"
    Pipeline.from_pretrained("me/emoji")
    (snapshot,) = (tmp_path / "cache").glob("models--me--emoji/snapshots/*")
    assert set(folder_bytes(snapshot)) == FILES - {"README.md"}


def test_what_was_downloaded_once_needs_no_network(pipeline, hub, logged_in):
    pipeline.push_to_hub("me/emoji")
    Pipeline.from_pretrained("me/emoji")
    hub.shutdown()
    hub.server_close()
    assert len(Pipeline.from_pretrained("me/emoji").priors) == 2


def test_a_private_repository_is_for_its_owner(pipeline, hub):
    pipeline.push_to_hub("me/emoji", private=True, token=hub.token)
    assert len(Pipeline.from_pretrained("me/emoji", token=hub.token).priors) == 2
    with pytest.raises(HubError, match="the Hub has no repository me/emoji2 that you may see"):
        Pipeline.from_pretrained("me/emoji2")


def test_a_folder_goes_before_an_id(pipeline, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline.save_pretrained("me/emoji")
    assert len(Pipeline.from_pretrained("me/emoji").priors) == 2
    for source in ("me/emoji", "builtin"):
        with pytest.raises(ConfigError, match=f"`revision` must be None, since {source} is a folder"):
            Pipeline.from_pretrained(source, revision="main")
    assert hub.requests == []


@pytest.mark.parametrize(
    "source", ["emoji", "me/emoji/run", "../emoji", "/me/emoji", "me/", "-me/emoji", "me/em oji", ""]
)
def test_what_is_neither_folder_nor_id_asks_nobody(hub, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if source != "":  # which is the working folder
        with pytest.raises(CheckpointError, match="is neither a folder nor an id of the Hub, 'owner/name'"):
            Pipeline.from_pretrained(source)
    if source:
        with pytest.raises(ConfigError, match="`repo_id` must be the id of a repository, 'owner/name'"):
            Pipeline.push_to_hub(None, source)
    assert hub.requests == []


def pull(name="me/emoji", **options):
    return lambda _: Pipeline.from_pretrained(name, **options)


def push(pipeline):
    pipeline.push_to_hub("me/emoji")


@pytest.mark.parametrize(
    ("change", "act", "message"),
    [
        ({}, pull("me/gone"), "me/gone is not a folder here, and the Hub has no repository me/gone"),
        ({}, pull(revision="v9"), "no revision 'v9' of me/emoji"),
        ({"broken": 500}, push, "the Hub answers with an error .*; try again later"),
        ({"broken": 503}, pull(), "the Hub answers with an error .*; try again later"),
        ({"broken": 429}, pull(), r"the Hub is asked too often; wait a few minutes, .* \(me/emoji\)"),
        ({"gated": {"me/emoji"}}, pull(), "me/emoji only to those whom its owner lets in"),
        ({"is_garbled": True}, push, r"me/emoji \(preupload_info"),
        ({"repositories": {"me/emoji": [{"weights.bin": b"0"}]}}, pull(), r"has no config\.json"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(pipeline, hub, logged_in, change, act, message):
    push(pipeline)
    for name, value in change.items():
        setattr(hub, name, value)
    commits = {name: len(found) for name, found in hub.repositories.items()}
    with pytest.raises((HubError, CheckpointError), match=message) as caught:
        act(pipeline)
    assert len(str(caught.value).splitlines()) == 1
    assert re.search(r"; [a-z]", str(caught.value))  # the remedy
    assert {name: len(found) for name, found in hub.repositories.items()} == commits


def test_a_wrong_token_is_called_that_and_not_shown_and_without_one_nothing_is_uploaded(pipeline, hub):
    for act in (
        lambda: pipeline.push_to_hub("me/emoji", token="wrong-secret"),
        lambda: Pipeline.from_pretrained("me/emoji", token="wrong-secret"),
    ):
        with pytest.raises(HubError, match=r"the Hub does not know this token; log in anew") as caught:
            act()
        assert "wrong-secret" not in str(caught.value)
    with pytest.raises(HubError, match="the Hub does not allow it to this token"):
        pipeline.push_to_hub("me/emoji")
    assert hub.repositories == {}


def test_an_address_from_a_browser_names_the_repository_and_its_revision(pipeline, hub, logged_in):
    commit = pipeline.push_to_hub("me/emoji").rsplit("/", 1)[1]
    for source in ("https://huggingface.co/me/emoji", Path("https://huggingface.co/me/emoji/")):
        assert len(Pipeline.from_pretrained(source).priors) == 2
    hub.requests.clear()
    Pipeline.from_pretrained(f"https://huggingface.co/me/emoji/tree/{commit}")
    assert not any("/main" in request for request in hub.requests)
    with pytest.raises(HubError, match="no revision 'v9' of me/emoji"):
        Pipeline.from_pretrained("https://huggingface.co/me/emoji/tree/v9")
    with pytest.raises(CheckpointError, match="neither a folder nor an id"):
        Pipeline.from_pretrained("https://huggingface.co/datasets/me/emoji")


def test_without_a_network_that_is_said(pipeline, hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nothing listens
    with pytest.raises(HubError, match=r"the Hub cannot be reached, and me/emoji is not in the cache"):
        Pipeline.from_pretrained("me/emoji")
    with pytest.raises(HubError, match="the Hub cannot be reached"):
        pipeline.push_to_hub("me/emoji", token=hub.token)


def test_the_command_pushes_and_takes_an_id_for_a_pipeline(pipeline, hub, logged_in, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline.save_pretrained("p")
    assert main(["push", "p", "me/emoji", "--license", "mit", "--message", "first", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["commit"].startswith(f"{hub.url}/me/emoji/commit/")
    assert b"license: mit" in hub.files("me/emoji")["README.md"]
    assert main(["sample", "me/emoji", "--out", "samples", "--num-images", "2", "--device", "cpu"]) == 0
    assert main(["sample", "me/gone", "--out", "more"]) == 1
    errors = capsys.readouterr().err
    assert "vqvae2: me/gone is not a folder here, and the Hub has no repository me/gone that you may see" in errors
    assert "Traceback" not in errors
