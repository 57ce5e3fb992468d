"""Saved models rebuild themselves from their file alone, and damage shows."""

import json

import pytest
import torch
from safetensors.torch import save_file

from toy_models import TOY_TOKENIZER
from vqvae2.errors import CheckpointError
from vqvae2.models.checkpoint import (
    fingerprint,
    load_model,
    read_model_file,
    save_model,
)
from vqvae2.models.vqvae import VQVAE2

HEADER = {"magic": "vqvae2.model", "version": 2, "kind": "tokenizer", "config": {}, "metadata": {}, "fingerprint": ""}


@pytest.fixture
def tokenizer():
    return VQVAE2(TOY_TOKENIZER).eval()


def test_a_tokenizer_is_rebuilt_from_its_file(tokenizer, tmp_path):
    digest = save_model(tokenizer, tmp_path / "a" / "model.safetensors", metadata={"step": 3})
    loaded, header = load_model(tmp_path / "a" / "model.safetensors", kind="tokenizer")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(loaded(images).reconstruction, tokenizer(images).reconstruction)
    assert (header.config, header.metadata, header.fingerprint) == (TOY_TOKENIZER, {"step": 3}, digest)
    assert not loaded.training


def test_a_prior_is_rebuilt_from_its_file(make_prior, tmp_path):
    prior = make_prior(1, num_classes=2).float()
    save_model(prior, tmp_path / "prior.safetensors")
    loaded, _ = load_model(tmp_path / "prior.safetensors", kind="prior")
    assert fingerprint(loaded) == fingerprint(prior)
    assert loaded.config == prior.config


def test_the_fingerprint_follows_the_weights(tokenizer):
    before = fingerprint(tokenizer)
    assert fingerprint(tokenizer) == before
    tokenizer.quantizers[0].codebook[0, 0] += 1e-6
    assert fingerprint(tokenizer) != before


@pytest.fixture
def path(tokenizer, tmp_path):
    for _ in range(2):  # the second replaces the first
        save_model(tokenizer, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_saving_leaves_nothing_but_the_file(path):
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]


def test_another_kind_is_refused(path):
    with pytest.raises(CheckpointError, match="must hold a prior, but holds a tokenizer"):
        load_model(path, kind="prior")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.safetensors does not exist"):
        read_model_file(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_cut_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="restore it from a copy"):
        load_model(path, kind="tokenizer")


def test_a_flipped_bit_is_found(path):
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="do not match their checksum"):
        load_model(path, kind="tokenizer")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "not a model of vqvae2"),
        ("[]", "header of the model file is damaged"),
        (json.dumps(HEADER | {"magic": "other"}), "must be a model"),
        (json.dumps(HEADER | {"version": 9}), "version 9, this package reads 2; update vqvae2"),
        (json.dumps(HEADER | {"version": 1}), "version 1, this package reads 2; train it again"),
    ],
)
def test_other_headers_are_refused(tmp_path, header, message):
    metadata = {"vqvae2": header} if header else None
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match=message):
        read_model_file(tmp_path / "model.safetensors")
