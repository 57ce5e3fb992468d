"""VGG16 has the weights of torchvision's file, and gives what an independent pass through them gives."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from vqvae2.errors import CheckpointError
from vqvae2.models.classifier import FeatureMaps
from vqvae2.models.vgg16 import VGG16, VGG16_FILE, load_vgg16

# Their numbers in torchvision's file, stage by stage.
CONVOLUTIONS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
MAP_CHANNELS = (64, 128, 256, 512, 512)


@pytest.fixture(scope="module")
def weights():
    """Random convolutions; the other layers are of one number each, so that they take no memory."""
    torch.manual_seed(0)
    weights, channels = {}, 3
    for numbers, width in zip(CONVOLUTIONS, MAP_CHANNELS, strict=True):
        for number in numbers:
            weights[f"features.{number}.weight"] = torch.randn(width, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
            weights[f"features.{number}.bias"] = torch.randn(width) * 0.1
            channels = width
    for number, shape in ((0, (4096, 25088)), (3, (4096, 4096)), (6, (1000, 4096))):
        weights[f"classifier.{number}.weight"] = torch.zeros(1).expand(shape)
        weights[f"classifier.{number}.bias"] = torch.zeros(shape[0])
    return weights


@pytest.fixture(scope="module")
def network(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg16") / VGG16_FILE
    torch.save(weights, path)
    return load_vgg16(path)


def reference(weights, images):
    """The maps before each pool, and the one after the last, of RGB images in [-1, 1]."""
    mean, deviation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    channels = [(images[:, c] / 2 + 0.5 - mean[c]) / deviation[c] for c in range(3)]
    x, maps = torch.stack(channels, dim=1), []
    for numbers in CONVOLUTIONS:
        for number in numbers:
            name = f"features.{number}"
            x = functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1).relu()
        maps.append(x)
        x = functional.max_pool2d(x, 2)
    return [*maps, x]


def test_parameters_are_those_of_the_published_network(weights):
    with torch.device("meta"):
        state = VGG16().state_dict()
    assert {name: value.shape for name, value in state.items()} == {name: v.shape for name, v in weights.items()}
    assert sum(value.numel() for value in state.values()) == 138_357_544


def test_the_weights_of_the_file_are_taken_and_fixed(network, weights):
    assert all(
        torch.equal(value, weights[name]) for name, value in network.features.state_dict(prefix="features.").items()
    )
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_feature_maps_are_what_each_pool_sees(network, weights):
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    maps = network.feature_maps(images)
    assert isinstance(network, FeatureMaps)
    assert network.map_channels == MAP_CHANNELS
    assert [feature_map.shape for feature_map in maps] == [
        (2, channels, 32 >> index, 48 >> index) for index, channels in enumerate(MAP_CHANNELS)
    ]
    *expected, _ = reference(weights, images)
    torch.testing.assert_close(maps, tuple(expected), rtol=1e-3, atol=1e-4)


def test_feature_maps_of_other_sizes_and_channels_are_those_of_padded_rgb(network):
    grey = torch.rand(1, 1, 9, 20) * 2 - 1
    padded = functional.pad(grey, (0, 12, 0, 7), mode="replicate")
    transparent = torch.cat((padded.expand(-1, 3, -1, -1), torch.ones_like(padded)), dim=1)
    torch.testing.assert_close(network.feature_maps(grey), network.feature_maps(transparent))
    with pytest.raises(ValueError, match=r"1, 3 or 4 channels, got \(1, 2, 8, 8\)"):
        network.feature_maps(torch.zeros(1, 2, 8, 8))


def test_gradients_of_every_map_reach_images(network):
    images = torch.zeros(1, 3, 16, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        maps = network.feature_maps(images)
    for feature_map in maps:
        (gradient,) = torch.autograd.grad(feature_map.float().square().mean(), images, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_features_are_the_input_of_the_layer_that_gives_logits(weights):
    with torch.device("meta"):
        network = VGG16()
    hidden = [nn.Linear(25088, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 8), nn.ReLU(), nn.Dropout()]
    network.classifier = nn.Sequential(*hidden, nn.Linear(8, 5))  # in the place of layers of half a gigabyte
    parts = {name.removeprefix("features."): v for name, v in weights.items() if name.startswith("features.")}
    network.features.load_state_dict(parts, assign=True)
    images = torch.rand(1, 3, 30, 50) * 2 - 1
    with torch.inference_mode():
        logits, features = network.eval()(images)
        resized = functional.interpolate(images, (224, 224), mode="bicubic", antialias=True).clamp(-1, 1)
        *_, pooled = reference(weights, resized)
        torch.testing.assert_close(features, network.classifier[:5](pooled.flatten(1)), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(logits, network.classifier[6](features))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classifier.6.bias": None}, r"must hold classifier\.6\.bias of shape \(1000,\), got none"),
        ({"features.0.bias": torch.zeros(65)}, r"must hold features\.0\.bias of shape \(64,\), got \(65,\)"),
        ({"features.1.running_mean": torch.zeros(64)}, r"features\.1\.running_mean of shape none, got \(64,\)"),
        ({"features.0.bias": "text"}, "is missing, damaged, or no file of weights"),
    ],
    ids=["absent", "of another shape", "of another network", "no tensor"],
)
def test_other_weights_are_refused(weights, change, problem, tmp_path):
    path = tmp_path / "other.pth"
    small = {name: value if value.ndim == 1 else torch.zeros(1).expand(value.shape) for name, value in weights.items()}
    torch.save({name: value for name, value in (small | change).items() if value is not None}, path)
    with pytest.raises(
        CheckpointError, match=rf"other\.pth.*{problem}; give {VGG16_FILE} as published with torchvision"
    ):
        load_vgg16(path)


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    path = tmp_path / "none.pth"
    for _ in range(2):
        with pytest.raises(CheckpointError, match=rf"none\.pth is missing, damaged, or .*; give {VGG16_FILE}"):
            load_vgg16(path)
        path.write_bytes(b"no weights")
