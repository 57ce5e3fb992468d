"""Saved models rebuild themselves from their file alone, and damage shows."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from toy_models import TOY_TOKENIZER
from vqvae2.config import (
    ClassifierConfig,
    CodebookLossConfig,
    DecoderConfig,
    FSQConfig,
    PixelSNAILConfig,
    PriorConfig,
    ResNetConfig,
    TransformerConfig,
    VQVAE2Config,
)
from vqvae2.errors import CheckpointError
from vqvae2.models.checkpoint import (
    AllocationLimit,
    AllocationLimitError,
    build_model,
    fingerprint,
    load_model,
    read_model_file,
    save_model,
)
from vqvae2.models.decoder import Decoder
from vqvae2.models.vqvae import VQVAE2

HEADER = {"magic": "vqvae2.model", "version": 3, "kind": "tokenizer", "config": {}, "metadata": {}, "fingerprint": ""}


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


def test_another_kind_is_refused(tokenizer, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(tokenizer, path)
    with pytest.raises(CheckpointError, match="must hold a prior, but holds a tokenizer"):
        load_model(path, kind="prior")
    save_model(Decoder(DecoderConfig(tokenizer_config=tokenizer.config, tokenizer=fingerprint(tokenizer))), path)
    with pytest.raises(CheckpointError, match="must hold a tokenizer, but holds a decoder; give the folder or file of"):
        load_model(path, kind="tokenizer")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.safetensors does not exist"):
        read_model_file(tmp_path / "gone.safetensors")


def test_a_flipped_bit_is_found(tokenizer, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(tokenizer, path)
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
        (json.dumps(HEADER | {"version": 9}), "version 9, this package reads 2 and 3; update vqvae2"),
        (json.dumps(HEADER | {"version": 1}), "version 1, this package reads 2 and 3; train it again"),
    ],
)
def test_other_headers_are_refused(tmp_path, header, message):
    metadata = {"vqvae2": header} if header else None
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match=message):
        read_model_file(tmp_path / "model.safetensors")


def save_version_2(network, path):
    """Write a prior as the version before fronts did."""
    save_model(build_model(PriorConfig(network=network)), path)
    with safe_open(path, framework="pt") as file:
        header, weights = json.loads(file.metadata()["vqvae2"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    save_file(weights, path, metadata={"vqvae2": json.dumps(header | {"version": 2})})


def test_a_prior_without_attention_of_the_version_before_is_read(tmp_path):
    network = PixelSNAILConfig(hidden_channels=8, residual_channels=8, num_layers=3)  # too few for attention
    save_version_2(network, tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors", kind="prior")[1].config.network == network


@pytest.mark.parametrize(
    "network", [PixelSNAILConfig(hidden_channels=8), TransformerConfig(hidden_channels=16)], ids=str
)
def test_attention_in_raster_order_is_refused(tmp_path, network):
    save_version_2(network, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"attention saw codes in raster order, .* train it again"):
        read_model_file(tmp_path / "model.safetensors")


CONFIGS = [
    VQVAE2Config(hidden_channels=16),
    VQVAE2Config(hidden_channels=16, quantizer=CodebookLossConfig()),
    VQVAE2Config(hidden_channels=16, quantizer=FSQConfig()),
    DecoderConfig(tokenizer_config=VQVAE2Config(hidden_channels=16), tokenizer=""),
    PriorConfig(network=PixelSNAILConfig(hidden_channels=16, residual_channels=16)),
    PriorConfig(network=TransformerConfig(hidden_channels=16, feedforward_channels=16)),
    ClassifierConfig(classes=("a", "b"), network=ResNetConfig(hidden_channels=8)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_model_is_made_within_twice_its_elements_and_not_within_half(config):
    saved = sum(tensor.numel() for tensor in build_model(config).state_dict().values())
    with AllocationLimit(2 * saved):
        build_model(config)
    with pytest.raises(AllocationLimitError), AllocationLimit(saved // 2):
        build_model(config)


ABOVE_A_HUNDRED = [
    *(lambda: torch.empty(10**30), lambda: torch.zeros(10, 10, 2), lambda: torch.ones((101,))),
    *(
        lambda: torch.full((101,), 1.0),
        lambda: torch.randn(size=(101,)),
        lambda: torch.eye(11),
        lambda: torch.eye(2, 51),
    ),
    *(lambda: torch.arange(101), lambda: torch.arange(0, 101), lambda: torch.nn.Linear(10**9, 10**9)),
    lambda: [torch.empty(60), torch.empty(60)],
]


@pytest.mark.parametrize("make", ABOVE_A_HUNDRED, ids=range(len(ABOVE_A_HUNDRED)))
def test_what_is_above_the_limit_is_not_made(make):
    with pytest.raises(AllocationLimitError), AllocationLimit(100):
        make()
