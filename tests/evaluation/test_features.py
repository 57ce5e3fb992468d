"""Laws of features on disk."""

import numpy as np
import pytest
import torch

from vqvae2.errors import DataError
from vqvae2.evaluation.features import extract_features, noise_images, stored_images
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.images import from_pixels

CPU = torch.device("cpu")


@pytest.fixture
def images(real_images):
    return stored_images(real_images, real_images.indices("train")[::-1], name="training images")


def test_features_are_what_the_network_gives(network, images, real_images, tmp_path):
    found = extract_features(network, images, tmp_path, device=CPU, batch_size=7)
    pixels = torch.from_numpy(real_images.pixels[real_images.indices("train")[::-1]])
    expected = network.module(from_pixels(pixels))
    torch.testing.assert_close(torch.from_numpy(np.array(found.features)), expected.features)
    torch.testing.assert_close(torch.from_numpy(np.array(found.logits)), expected.logits)


def test_what_was_seen_is_not_looked_at_again_but_by_another_network(network, images, tmp_path):
    extract_features(network, images, tmp_path, device=CPU)
    seen = network.module.num_images
    found = extract_features(network, images, tmp_path, device=CPU)
    assert network.module.num_images == seen
    assert len(found.features) == 40
    network.module.weight += 1
    other = FeatureNetwork(network.name, network.module, network.preprocessing)
    extract_features(other, images, tmp_path, device=CPU)
    assert len(list(tmp_path.glob("*/*/features.npy"))) == 2


def test_a_stopped_extraction_goes_on(network, images, tmp_path):
    def stop(done, total):
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(network, images, tmp_path, device=CPU, batch_size=10, on_progress=stop)
    seen = network.module.num_images
    found = extract_features(network, images, tmp_path, device=CPU, batch_size=10)
    assert network.module.num_images - seen == 21  # the other half, and one image to learn the shapes
    whole = extract_features(network, images, tmp_path / "whole", device=CPU, batch_size=10)
    assert np.array_equal(found.features, whole.features)


def test_damaged_features_are_named(network, images, tmp_path):
    extract_features(network, images, tmp_path, device=CPU)
    (path,) = tmp_path.glob("*/*/features.json")
    path.write_text("{")
    with pytest.raises(DataError, match=r"features\.json is damaged; delete"):
        extract_features(network, images, tmp_path, device=CPU)


def test_noise_is_the_same_in_any_batch(real_images):
    noise = noise_images(real_images, 9)
    whole = noise.read(0, 9)
    assert np.array_equal(np.concatenate([noise.read(0, 4), noise.read(4, 9)]), whole)
    assert whole.shape == (9, 16, 24, 3)
    assert abs(whole.mean() - 127.5) < 4
