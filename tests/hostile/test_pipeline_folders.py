"""A pipeline's folder is read by fixed names: whatever it holds besides, and whatever its files say, leads nowhere."""

import dataclasses
import json
import os

import pytest
import torch

from vqvae2.errors import CheckpointError, VQVAE2Error
from vqvae2.models.checkpoint import save_model
from vqvae2.pipeline.folder import PIPELINE_FILES
from vqvae2.pipeline.pipeline import Pipeline


@pytest.fixture
def saved(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    return tmp_path / "p"


def test_the_files_of_a_pipeline_lie_in_its_folder():
    assert len(PIPELINE_FILES) == len(set(PIPELINE_FILES))
    for name in PIPELINE_FILES:
        assert not os.path.isabs(name)
        assert ".." not in name.split("/")
        assert name.count("/") <= 1


def test_changed_files_give_the_same_pipeline_or_an_error(saved, pipeline, mutator):
    wanted = pipeline.sample(1)
    for name in ("config.json", "tokenizer/model.safetensors", "prior-top/model.safetensors"):
        data = (saved / name).read_bytes()
        for _ in range(60):
            (saved / name).write_bytes(mutator.change_bytes(data))
            try:
                loaded = Pipeline.from_pretrained(saved)
            except VQVAE2Error:
                continue
            if loaded.config == pipeline.config and loaded.tokenizer.config == pipeline.tokenizer.config:
                assert torch.equal(loaded.sample(1), wanted)
        (saved / name).write_bytes(data)


def test_the_decoder_is_read_from_a_decoder_of_this_tokenizer_only(sharp_pipeline, mutator, tmp_path):
    sharp_pipeline.save_pretrained(tmp_path)
    image, digest = torch.zeros(1, 3, 16, 24), sharp_pipeline.fingerprints().sharp_decoder
    wanted, path = sharp_pipeline.reconstruct(image), tmp_path / "sharp-decoder" / "model.safetensors"
    data = path.read_bytes()
    for _ in range(60):
        path.write_bytes(mutator.change_bytes(data))
        try:
            loaded = Pipeline.from_pretrained(tmp_path)
        except CheckpointError:
            continue
        assert loaded.fingerprints().sharp_decoder == digest
        assert torch.equal(loaded.reconstruct(image), wanted)
    path.write_bytes(data)
    tokenizer = tmp_path / "tokenizer" / "model.safetensors"
    own = tokenizer.read_bytes()
    path.write_bytes(own)
    with pytest.raises(CheckpointError, match="must hold a decoder, but holds a tokenizer"):
        Pipeline.from_pretrained(tmp_path)
    path.write_bytes(data)
    tokenizer.write_bytes(data)
    with pytest.raises(CheckpointError, match="must hold a tokenizer, but holds a decoder"):
        Pipeline.from_pretrained(tmp_path)


def test_links_are_followed_to_models_only(saved, tmp_path):
    (tmp_path / "other.json").write_text('{"a": 1}')
    for name in ("config.json", "tokenizer/model.safetensors"):
        data = (saved / name).read_bytes()
        for target in (tmp_path / "other.json", "/dev/zero", "/proc/self/environ", tmp_path, tmp_path / "nothing"):
            (saved / name).unlink()
            (saved / name).symlink_to(target)
            with pytest.raises(CheckpointError):
                Pipeline.from_pretrained(saved)
        (saved / name).unlink()
        (saved / name).write_bytes(data)


def test_a_pipe_is_not_waited_for(saved):
    (saved / "config.json").unlink()
    os.mkfifo(saved / "config.json")
    with pytest.raises(CheckpointError, match="is not a readable config"):
        Pipeline.from_pretrained(saved)


@pytest.mark.parametrize(
    "changes",
    [{"num_embeddings": (5, 7)}, {"num_embeddings": (9, 5)}, {"upsampling": (3,)}, {"num_classes": 3}],
    ids=str,
)
def test_a_prior_over_other_codes_or_classes_is_refused(saved, pipeline, make_prior, changes):
    space = dataclasses.replace(pipeline.priors[1].space, **changes)
    prior = type(pipeline.priors[1])(dataclasses.replace(pipeline.priors[1].config, space=space))
    save_model(prior.eval(), saved / "prior-bottom" / "model.safetensors")
    with pytest.raises(CheckpointError, match="the prior of level 1 must be over CodeSpace"):
        Pipeline.from_pretrained(saved)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"temperature": [1.0, 1.0, 1.0]}, "`config.sampling`: `temperature` must hold at most 2 values"),
        ({"top_k": [6]}, r"`config.sampling`: `top_k` must be in 0\.\.5"),
        ({"temperature": [-1.0]}, "`sampling.temperature.0` must be at least 0, got -1"),
        ({"heat": 1.0}, "`sampling.heat` is not a field"),
        ("hot", "`sampling` must be a dictionary"),
    ],
)
def test_sampling_settings_that_do_not_fit_the_priors_are_refused(saved, sampling, message):
    values = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(values | {"sampling": sampling}))
    with pytest.raises(CheckpointError, match=message):
        Pipeline.from_pretrained(saved)


def test_a_huge_image_size_is_refused(saved):
    values = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(values | {"image_size": [2**20, 2**20]}))
    with pytest.raises(CheckpointError, match="`image_size` must be at most 89478485 pixels"):
        Pipeline.from_pretrained(saved)
