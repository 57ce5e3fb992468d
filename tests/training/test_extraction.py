"""Extraction encodes every image, and its mirrored twin where that is asked for."""

import numpy as np
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.images import from_pixels
from vqvae2.models.vqvae import VQVAE2
from vqvae2.training.extraction import extract_codes


def test_the_store_holds_the_codes_of_images_and_if_asked_of_mirrored_images(image_store, tmp_path):
    images = from_pixels(torch.from_numpy(image_store.pixels.copy()))
    tokenizer = VQVAE2(TOY_TOKENIZER).eval()
    tokenizer.initialize_codebooks(images[:16])
    store = extract_codes(tokenizer, image_store, tmp_path / "codes", with_flipped=True, batch_size=7)
    plain, flipped = (store.batch(np.arange(image_store.num_images), flipped=flipped) for flipped in (False, True))
    with torch.inference_mode():
        for read, originals in ((plain, images), (flipped, images.flip(3))):
            for codes, expected in zip(read, tokenizer.encode(originals), strict=True):
                assert (codes == expected).float().mean() > 0.99  # another batch size may round another way
    for codes, mirrored in zip(plain, flipped, strict=True):
        assert not torch.equal(codes.flip(2), mirrored)  # they have to be encoded
    assert not extract_codes(tokenizer, image_store, tmp_path / "plain").has_flipped
    assert not list((tmp_path / "plain").glob("*flipped*"))
