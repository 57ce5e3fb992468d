"""Extraction encodes every image, and its mirrored twin where that is asked for."""

import numpy as np
import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.images import from_pixels
from vqvae2.models.vqvae import VQVAE2
from vqvae2.training.extraction import extract_codes


@pytest.fixture
def tokenizer(image_store):
    model = VQVAE2(TOY_TOKENIZER).eval()
    model.initialize_codebooks(from_pixels(torch.from_numpy(image_store.pixels[np.arange(16)])))
    return model


def test_the_store_holds_the_codes_of_images_and_of_mirrored_images(image_store, tokenizer, tmp_path):
    store = extract_codes(tokenizer, image_store, tmp_path / "codes", with_flipped=True, batch_size=7)
    images = from_pixels(torch.from_numpy(image_store.pixels.copy()))
    everything = np.arange(image_store.num_images)
    with torch.inference_mode():
        for flipped, originals in ((False, images), (True, images.flip(3))):
            for read, encoded in zip(
                store.batch(everything, flipped=flipped), tokenizer.encode(originals), strict=True
            ):
                assert (read == encoded).float().mean() > 0.99  # another batch size may round another way


def test_the_codes_of_a_mirrored_image_are_not_its_mirrored_codes(image_store, tokenizer, tmp_path):
    store = extract_codes(tokenizer, image_store, tmp_path / "codes", with_flipped=True)
    everything = np.arange(image_store.num_images)
    for codes, flipped in zip(store.batch(everything), store.batch(everything, flipped=True), strict=True):
        assert not torch.equal(codes.flip(2), flipped)


def test_mirrored_images_are_left_out_unless_asked_for(image_store, tokenizer, tmp_path):
    assert not extract_codes(tokenizer, image_store, tmp_path / "codes").has_flipped
    assert not list((tmp_path / "codes").glob("*flipped*"))
