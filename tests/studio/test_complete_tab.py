"""Parts of images drawn anew, and images that exchange their top codes."""

import re

import numpy as np
import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.errors import ConfigError
from vqvae2.sampling.completion import mask_below
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.complete_tab import part_mask, redraw, swap_html, swap_tops, variants_html, view_redrawn

SIZE = (16, 24)
REST = "all but the top level"


@pytest.fixture
def image(context):
    return context.examples[0].image


def painting(*cells):
    """Paint over rows and columns of a layer twice the image's size, each with an opacity."""
    layer = np.zeros((32, 48, 4), dtype=np.uint8)
    for rows, columns, opacity in cells:
        layer[rows, columns, 3] = opacity
    return [layer]


def titles(html):
    return re.findall(r"<figcaption><b>(.*?)</b>", html)


def test_the_mask_is_the_part_that_was_chosen_and_pixels_are_painted_where_paint_covers_half_of_them():
    assert torch.equal(part_mask("lower half", [], SIZE), mask_below(SIZE, 0.5))
    assert torch.equal(part_mask("right half", [], SIZE), (torch.arange(24) >= 12).expand(SIZE))
    assert part_mask(REST, [], SIZE) is None
    whole, half = (slice(0, 2), slice(0, 2), 255), (slice(0, 2), slice(2, 3), 255)
    quarter, thin = (slice(0, 1), slice(4, 5), 255), (slice(0, 2), slice(6, 8), 100)
    wanted = torch.zeros(SIZE, dtype=torch.bool)
    wanted[0, :2] = True
    assert torch.equal(part_mask("painted", painting(whole, half, quarter, thin), SIZE), wanted)
    for nothing in ([], painting()):
        with pytest.raises(ConfigError, match="painted"):
            part_mask("painted", nothing, SIZE)


@pytest.mark.parametrize("part", ["painted", "lower half", REST])
def test_a_part_is_drawn_as_the_pipeline_draws_it_and_all_steps_keep_what_is_known(context, image, part):
    mask = part_mask(part, painting((slice(16, 32), slice(10, 40), 255)), SIZE)
    steps, request, pipeline = [], DrawRequest(num_variants=2, seed=5, label=1), context.pipeline
    drawn = redraw(context, image, mask, request, steps.append)
    wanted = pipeline.vary(image[None], request) if mask is None else pipeline.complete(image[None], mask, request)
    assert torch.equal(drawn, wanted[0])
    views = [view_redrawn(context.pipeline, image, mask, step.front) for step in steps[::7] if step.front is not None]
    assert torch.equal(view_redrawn(context.pipeline, image, mask, steps[-1].front), drawn)
    if mask is not None:
        for view in views:
            assert torch.equal(view[:, :, :8], image[:, :8].expand(2, -1, -1, -1))


def test_swapped_images_have_each_others_top_codes_and_all_four_are_shown(context):
    pipeline, images = context.pipeline, torch.stack([example.image for example in context.examples])
    codes = pipeline.encode(images)
    mixed = pipeline.decode(Codes((codes[0].flip(0), codes[1])))
    # A batch of four goes through other kernels than one of two.
    assert torch.allclose(swap_tops(pipeline, *images), torch.cat([pipeline.decode(codes), mixed]), atol=1e-5)
    html = swap_html(context, *images)
    assert titles(html) == ["first image", "second image", "top of the second", "top of the first"]


def test_the_page_shows_what_is_known_and_every_try(context, image):
    html = variants_html(context, image, part_mask("lower half", [], SIZE), image.expand(2, -1, -1, -1))
    assert titles(html) == ["what is known", "try 1", "try 2"]
    assert "50 % of the image" in html
    assert titles(variants_html(context, image, None, image[None])) == ["the image", "try 1"]
