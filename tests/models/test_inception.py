"""Inception-v3 has the parameters, the pools and the resize of the FID's graph, and takes its weights only."""

import hashlib

import numpy as np
import pytest
import torch
from torch.nn import functional

from vqvae2.errors import CheckpointError
from vqvae2.models import inception
from vqvae2.models.inception import INCEPTION_FILE, Inception, load_inception, resize_like_tensorflow


@pytest.fixture(scope="module")
def network():
    """Random weights under which features stay of the order of one."""
    torch.manual_seed(0)
    network = Inception().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return network


def test_there_are_features_and_their_logits_without_a_bias(network):
    logits, features = network(torch.rand(2, 3, 20, 13) * 2 - 1)
    assert (features.shape, logits.shape) == ((2, 2048), (2, 1008))
    assert (features[0] - features[1]).abs().max() > 0.1
    torch.testing.assert_close(logits, features @ network.fc.weight.T)


def test_parameters_are_those_of_the_published_weights(network):
    state = network.state_dict()
    # 94 convolutions, each with five arrays of normalization; and the last layer.
    assert len(state) == 94 * 6 + 2
    assert sum(value.numel() for name, value in state.items() if name.endswith(("weight", "bias"))) == 23_850_960
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6e.branch7x7dbl_4.conv.weight": (192, 192, 7, 1),
        "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3dbl_3a.conv.weight": (384, 384, 1, 3),
        "Mixed_7c.branch3x3_2b.bn.num_batches_tracked": (),
        "fc.weight": (1008, 2048),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert {module.eps for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {1e-3}


def test_pixels_reach_the_first_convolution_resized_and_about_128(network):
    seen = []
    handle = network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    grey = torch.tensor([-0.999, 0.999]).expand(1, 1, 2, 2)  # black beside white, once rounded
    colours, opaque = grey.repeat(1, 3, 1, 1), torch.ones(1, 1, 2, 2)
    black, hole = -torch.ones(1, 3, 2, 2), torch.tensor([1.0, -1.0]).expand(1, 1, 2, 2)
    for images in (grey, colours, torch.cat((colours, opaque), dim=1), torch.cat((black, hole), dim=1)):
        network(images)
    handle.remove()
    expected = (255 * np.minimum(np.arange(299) * 2 / 299, 1) - 128) / 128
    for pixels in seen:
        np.testing.assert_allclose(pixels.numpy(), np.broadcast_to(expected, (1, 3, 299, 299)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("Mixed_7b", lambda x: functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)),
        ("Mixed_7c", lambda x: functional.max_pool2d(x, 3, 1, padding=1)),
    ],
)
def test_of_the_last_two_blocks_one_pools_by_the_mean_and_one_by_the_maximum(network, name, pool):
    block = network.get_submodule(name)
    x = torch.randn(1, block.get_submodule("branch1x1").conv.in_channels, 4, 3)
    torch.testing.assert_close(block(x)[:, -192:], block.get_submodule("branch_pool")(pool(x)))


def interpolate(image, side):
    """Position i of the result lies at i * length / side, along columns and then along rows."""
    for _ in range(2):
        length = image.shape[1]
        positions = np.arange(side) * length / side
        image = np.stack([np.interp(positions, np.arange(length), row) for row in image]).T
    return image


@pytest.mark.parametrize("shape", [(5, 7), (7, 7), (3, 20), (1, 2)])
def test_images_are_resized_from_the_corners_of_pixels(shape):
    images = torch.rand(2, 3, *shape, dtype=torch.float64)
    expected = [[interpolate(channel, 7) for channel in image] for image in images.numpy()]
    np.testing.assert_allclose(resize_like_tensorflow(images, 7), np.array(expected), rtol=1e-12, atol=1e-12)


def test_weights_are_read_and_those_of_the_auxiliary_head_ignored(monkeypatch, tmp_path, network):
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict() | {"AuxLogits.fc.bias": torch.zeros(3)}, path)
    monkeypatch.setattr(inception, "INCEPTION_SHA256_START", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    loaded = load_inception(path)
    assert not loaded.training
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


def test_other_files_are_refused(tmp_path):
    path = tmp_path / INCEPTION_FILE
    with pytest.raises(CheckpointError, match=f"{INCEPTION_FILE} does not exist; give {INCEPTION_FILE}"):
        load_inception(path)
    path.write_bytes(b"other")
    with pytest.raises(CheckpointError, match=f"SHA-256 of 6726825d.* {hashlib.sha256(b'other').hexdigest()}; give"):
        load_inception(path)
