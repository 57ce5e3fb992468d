"""Stores and networks for evaluations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vqvae2.data import write_images
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.models.classifier import ClassifierOutput


class Colours(nn.Module):
    """Sees the mean of each channel of each quarter of an image; counts how many images it has looked at."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.register_buffer("weight", torch.linspace(-3, 3, 12 * num_classes).view(12, num_classes))
        self.num_images = 0

    def forward(self, images):
        self.num_images += len(images)
        features = nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
        return ClassifierOutput(features @ self.weight, features)


@pytest.fixture
def network():
    return FeatureNetwork("Colours", Colours().eval(), "means of quarters")


@pytest.fixture
def real_images(image_store, tmp_path):
    """Real images of the tiny pipeline's size and classes: 40 for training, 20 held out."""
    labels = np.arange(60) % 2
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 100, (60, 16, 24, 3), dtype=np.uint8)
    pixels[labels == 1, :, 12:] += 120
    like = replace(image_store, pixels=pixels, size=(16, 24), classes=("cat", "dog"))
    return write_images(
        lambda start: iter([pixels[start:]]),
        tmp_path / "real",
        like=like,
        labels=labels,
        is_validation=np.arange(60) >= 40,
    )
