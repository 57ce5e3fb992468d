"""Pictures show every kind of image, and pixels as squares."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.page_parts import enlarge_to, enlargement


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_image_becomes_a_picture_in_colours(context, channels):
    picture = context.picture(torch.full((channels, 4, 6), 1.0))
    assert (picture.shape, picture.dtype) == ((4, 6, 3), np.uint8)
    assert (picture == 255).all()


def test_16_bits_are_rounded_to_8(context):
    config = PipelineConfig(image_size=(16, 24), bit_depth=16)
    tokenizer = VQVAE2(replace(context.pipeline.tokenizer.config, in_channels=1)).eval()
    deep = replace(context, pipeline=Pipeline(tokenizer, config))
    values = torch.linspace(-1.0, 1.0, 256)[None, :, None]
    assert np.array_equal(deep.picture(values)[:, 0, 0], np.arange(256))


def test_an_enlarged_pixel_is_a_square():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = enlarge_to(picture, 7)
    assert large.shape == (6, 6, 3)
    assert all(np.array_equal(large[row::3, column::3], picture) for row in range(3) for column in range(3))


@pytest.mark.parametrize(("size", "factor"), [((64, 64), 4), ((64, 100), 2), ((300, 20), 1), ((1, 1), 256)])
def test_small_pictures_are_enlarged_by_a_whole_factor(size, factor):
    assert enlargement(*size, 256) == factor
