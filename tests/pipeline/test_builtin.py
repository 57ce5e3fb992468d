"""The pipeline that comes with the package: small, whole, and of the built-in images."""

import pytest
import torch

from vqvae2 import Pipeline
from vqvae2.data import BuiltinImages
from vqvae2.evaluation.networks import find_classifier
from vqvae2.images import decode_image, from_pixels
from vqvae2.pipeline.hub import BUILTIN_FOLDER
from vqvae2.sampling.request import DrawRequest


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_pretrained("builtin")


def test_it_is_small_enough_for_a_package():
    assert sum(path.stat().st_size for path in BUILTIN_FOLDER.rglob("*") if path.is_file()) < 30e6


def test_it_draws_images_of_the_built_in_classes(pipeline):
    assert pipeline.config.classes == BuiltinImages().classes
    images = pipeline.sample(2, DrawRequest(label=pipeline.class_index("toonHead-long")))
    assert images.shape == (2, 3, 64, 64)
    assert images.std() > 0.2  # not grey


def test_it_reconstructs_and_compresses_a_built_in_image(pipeline):
    pixels = torch.from_numpy(decode_image(BuiltinImages().read(0), size=(64, 64), channels=3))
    image = from_pixels(pixels[None])
    reconstruction = pipeline.reconstruct(image)
    assert (reconstruction - image).square().mean() < 0.02
    file = pipeline.compress(image[0])
    assert len(file) < 400  # 320 codes of nine bits each, less what the priors save, and a header
    assert torch.equal(pipeline.decompress(file), reconstruction[0])


def test_its_classifier_fits(pipeline):
    classifier = find_classifier(BUILTIN_FOLDER / "classifier", pipeline)
    assert classifier(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 25)
