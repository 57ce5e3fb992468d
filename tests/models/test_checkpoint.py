"""Saved models rebuild themselves from their file alone, and damage shows."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vqvae2.config import EMAConfig, VQVAE2Config
from vqvae2.errors import CheckpointError
from vqvae2.models.checkpoint import (
    fingerprint,
    load_model,
    read_model_file,
    save_model,
)
from vqvae2.models.vqvae import VQVAE2

TINY = VQVAE2Config(
    hidden_channels=8, residual_channels=4, residual_layers=1, quantizer=EMAConfig(num_embeddings=12, embedding_dim=4)
)

HEADER = {"magic": "vqvae2.model", "version": 2, "kind": "tokenizer", "config": {}, "metadata": {}, "fingerprint": ""}


@pytest.fixture
def tokenizer():
    return VQVAE2(TINY).eval()


def test_a_tokenizer_is_rebuilt_from_its_file(tokenizer, tmp_path):
    digest = save_model(tokenizer, tmp_path / "a" / "model.safetensors", metadata={"step": 3})
    loaded, header = load_model(tmp_path / "a" / "model.safetensors", kind="tokenizer")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(loaded(images).reconstruction, tokenizer(images).reconstruction)
    assert (header.config, header.metadata, header.fingerprint) == (TINY, {"step": 3}, digest)
    assert not loaded.training


def test_a_prior_is_rebuilt_from_its_file(make_prior, tmp_path):
    prior = make_prior(1, num_classes=2).float()
    save_model(prior, tmp_path / "prior.safetensors")
    loaded, _ = load_model(tmp_path / "prior.safetensors", kind="prior")
    codes, above = torch.zeros(1, 4, 4, dtype=torch.int64), [torch.zeros(1, 2, 2, dtype=torch.int64)]
    torch.testing.assert_close(loaded(codes, above=above), prior(codes, above=above))


def test_the_fingerprint_follows_the_weights(tokenizer):
    before = fingerprint(tokenizer)
    assert fingerprint(tokenizer) == before
    tokenizer.quantizers[0].codebook[0, 0] += 1e-6
    assert fingerprint(tokenizer) != before


def test_saving_replaces_the_file_and_leaves_nothing_else(tokenizer, tmp_path):
    for _ in range(2):
        save_model(tokenizer, tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_another_kind_is_refused(tokenizer, tmp_path):
    save_model(tokenizer, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="must hold a prior, but holds a tokenizer"):
        load_model(tmp_path / "model.safetensors", kind="prior")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.safetensors does not exist"):
        read_model_file(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_cut_file_is_refused(tokenizer, tmp_path, keep):
    path = tmp_path / "model.safetensors"
    save_model(tokenizer, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="restore it from a copy"):
        load_model(path, kind="tokenizer")


def test_a_flipped_bit_is_found(tokenizer, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(tokenizer, path)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="do not match their checksum"):
        load_model(path, kind="tokenizer")


def test_foreign_safetensors_are_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not a model of vqvae2"):
        load_model(tmp_path / "model.safetensors", kind="tokenizer")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("[]", "header of the model file is damaged"),
        (json.dumps(HEADER | {"magic": "other"}), "must be a model"),
        (json.dumps(HEADER | {"version": 9}), "version 9, this package reads 2; update vqvae2"),
        (json.dumps(HEADER | {"version": 1}), "version 1, this package reads 2; train it again"),
    ],
)
def test_other_headers_are_refused(tmp_path, header, message):
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"vqvae2": header})
    with pytest.raises(CheckpointError, match=message):
        read_model_file(tmp_path / "model.safetensors")
