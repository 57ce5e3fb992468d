"""Pictures show every kind of image, and pixels as squares."""

import numpy as np
import pytest
import torch

from vqvae2.studio.pictures import enlarge_to, enlargement, to_picture


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_image_becomes_a_picture_in_colours(channels):
    picture = to_picture(torch.full((channels, 4, 6), 1.0))
    assert (picture.shape, picture.dtype) == ((4, 6, 3), np.uint8)
    assert (picture == 255).all()


def test_16_bits_are_rounded_to_8():
    values = torch.linspace(-1.0, 1.0, 256)[None, :, None]
    assert np.array_equal(to_picture(values, bit_depth=16)[:, 0, 0], np.arange(256))


def test_an_enlarged_pixel_is_a_square():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = enlarge_to(picture, 7)
    assert large.shape == (6, 6, 3)
    assert all(np.array_equal(large[row::3, column::3], picture) for row in range(3) for column in range(3))


@pytest.mark.parametrize(("size", "factor"), [((64, 64), 4), ((64, 100), 2), ((300, 20), 1), ((1, 1), 256)])
def test_small_pictures_are_enlarged_by_a_whole_factor(size, factor):
    assert enlargement(*size, 256) == factor
