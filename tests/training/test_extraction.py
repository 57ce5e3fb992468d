"""Extraction encodes every image, and of training images the views that are asked for."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from toy_models import TOY_TOKENIZER
from vqvae2.config import ExtractionConfig
from vqvae2.images import from_pixels
from vqvae2.models.vqvae import VQVAE2
from vqvae2.training.extraction import extract_codes


@pytest.fixture
def images(image_store):
    return from_pixels(torch.from_numpy(image_store.pixels.copy()))


@pytest.fixture
def tokenizer(images):
    tokenizer = VQVAE2(TOY_TOKENIZER).eval()
    tokenizer.initialize_codebooks(images[:16])
    return tokenizer


@pytest.fixture
def extract(tokenizer, image_store, tmp_path):
    """Extract into a folder; give the codes of every view of all images."""

    def run(name="codes", *, batch_size=64, on_progress=None, **extraction):
        options = {"batch_size": batch_size, "on_progress": on_progress}
        store = extract_codes(
            tokenizer, image_store, tmp_path / name, extraction=ExtractionConfig(**extraction), **options
        )
        return [store.batch(np.arange(store.num_images), view) for view in range(store.extraction.num_views)]

    return run


def flat(codes):
    """Lay the codes of all levels of an image side by side, `(N, codes)`."""
    return torch.cat([level.flatten(1) for level in codes], 1)


def test_views_are_the_image_its_mirror_image_and_both_of_each_shift(extract, tokenizer, images, image_store):
    train = torch.from_numpy(image_store.indices("train"))
    moves = [(down, right) for down in range(3) for right in range(3)]
    framed = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    with torch.inference_mode():
        moved = [framed[:, :, down : down + 16, right : right + 16] for down, right in moves]
        encoded = [[flat(tokenizer.encode(part)) for part in parts] for parts in (moved, [m.flip(3) for m in moved])]
    plain, mirrored = (torch.stack(part)[:, train] for part in encoded)  # (moves, images, codes)
    views = [flat(view)[train] for view in extract(augment=2, max_shift_pixels=1, horizontal_flips=True, batch_size=7)]
    assert len(views) == 6
    fits = []
    for view, mirrored_view in zip(views[::2], views[1::2], strict=True):
        # Another batch size may round another way.
        shares = [(part == codes).float().mean(2) for part, codes in ((plain, view), (mirrored, mirrored_view))]
        fits.append((shares[0] > 0.99) & (shares[1] > 0.99))  # the same move of both
    assert all(fit.any(0).all() for fit in fits)
    assert fits[0][moves.index((1, 1))].all()  # which leaves the image where it is
    assert (fits[1] | fits[2]).any(1).all()  # every move occurs


def test_mirrored_images_are_encoded_rather_than_their_codes_mirrored(extract):
    for plain, mirrored in zip(*extract(horizontal_flips=True), strict=True):
        assert not torch.equal(plain.flip(2), mirrored)


def test_held_out_images_stay_as_they_are(extract, image_store):
    first, *others = extract(augment=1, horizontal_flips=True)
    held_out = torch.from_numpy(image_store.indices("validation"))
    assert all(torch.equal(flat(view)[held_out], flat(first)[held_out]) for view in others)


def test_further_views_change_none_of_the_others(extract):
    plain, few, many = extract("plain"), extract("few", augment=1), extract("many", augment=3)
    assert torch.equal(flat(plain[0]), flat(few[0]))
    assert all(torch.equal(flat(view), flat(other)) for view, other in zip(few, many, strict=False))


def test_an_extraction_that_was_stopped_ends_like_another(extract, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    options = {"augment": 2, "horizontal_flips": True, "batch_size": 8}
    whole = extract("whole", **options)
    with pytest.raises(KeyboardInterrupt):
        extract("parts", on_progress=interrupt, **options)
    starts = []
    parts = extract("parts", on_progress=lambda done, total: starts.append(done), **options)
    assert starts[0] == 16
    assert all(torch.equal(flat(view), flat(other)) for view, other in zip(whole, parts, strict=True))
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()
