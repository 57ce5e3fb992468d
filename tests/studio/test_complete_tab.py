"""Parts of images that are drawn anew, and images that exchange their top codes."""

import re

import numpy as np
import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.errors import ConfigError
from vqvae2.sampling.completion import mask_below
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.complete_tab import swap_html, variants_html
from vqvae2.studio.redraw_request import RedrawRequest, painted_mask, redraw, swap_tops, view_redrawn

NOTHING = torch.zeros(16, 24, dtype=torch.bool)


@pytest.fixture
def image(context):
    return context.examples[0].image


@pytest.fixture
def ask(image):
    def make(part, **values):
        return RedrawRequest(image=image, part=part, **({"painted": NOTHING} | values))

    return make


@pytest.mark.parametrize("part", ["painted", "lower half", "right half"])
def test_a_part_is_completed_as_the_pipeline_completes_it(context, ask, image, part):
    painted = NOTHING.clone()
    painted[3:9, 5:20] = True
    mask = {
        "painted": painted,
        "lower half": mask_below((16, 24), 0.5),
        "right half": (torch.arange(24) >= 12).expand(16, 24),
    }
    request = ask(part, painted=painted, num_variants=3, seed=5, class_name="dog")
    drawn = redraw(context, request, lambda step: None)
    wanted = context.pipeline.complete(image[None], mask[part], DrawRequest(num_variants=3, seed=5, label=1))
    assert torch.equal(drawn, wanted[0])
    assert torch.equal(drawn[:, :, ~mask[part]], image[:, ~mask[part]].expand(3, -1, -1))


def test_below_the_top_all_is_drawn_as_the_pipeline_varies_it(context, ask, image):
    drawn = redraw(context, ask("all but the top level", num_variants=2), lambda step: None)
    assert torch.equal(drawn, context.pipeline.vary(image[None], DrawRequest(num_variants=2))[0])


@pytest.mark.parametrize("part", ["lower half", "all but the top level"])
def test_the_last_step_shows_what_is_drawn_and_all_keep_what_is_known(context, ask, image, part):
    request, steps = ask(part, num_variants=2), []
    drawn = redraw(context, request, steps.append)
    views = [view_redrawn(context.pipeline, request, step.rows) for step in steps if step.rows is not None]
    assert torch.equal(views[-1], drawn)
    if request.mask is not None:
        for view in views:
            assert torch.equal(view[:, :, :8], image[:, :8].expand(2, -1, -1, -1))


def test_a_pixel_is_painted_where_paint_covers_half_of_it():
    layer = np.zeros((32, 48, 4), dtype=np.uint8)  # twice the image's size
    layer[0:2, 0:2, 3] = 255  # all of the first pixel
    layer[0:2, 2:3, 3] = 255  # half of the second
    layer[0:1, 4:5, 3] = 255  # a quarter of the third
    layer[0:2, 6:8, 3] = 100  # thin paint
    wanted = NOTHING.clone()
    wanted[0, :2] = True
    assert torch.equal(painted_mask([layer], (16, 24)), wanted)
    assert not painted_mask([], (16, 24)).any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"part": "painted"}, "nothing is painted yet; paint over what is to be drawn anew"),
        ({"part": "lower half", "num_variants": 17}, r"`num_variants` must be in 1\.\.16, got 17"),
        ({"part": "lower half", "seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ask, values, message):
    with pytest.raises(ConfigError, match=message):
        ask(**values)


def test_swapped_images_have_each_others_top_codes(context):
    first, second = (example.image for example in context.examples)
    pipeline = context.pipeline
    codes = [pipeline.encode(image[None]) for image in (first, second)]
    swapped = swap_tops(pipeline, first, second)
    mixed = pipeline.decode(Codes((codes[1][0], codes[0][1])))[0]
    # A batch of four goes through other kernels than one image alone.
    assert torch.allclose(swapped.first, pipeline.reconstruct(first[None])[0], atol=1e-5)
    assert torch.allclose(swapped.first_with_top_of_second, mixed, atol=1e-5)


def test_an_image_that_is_swapped_with_itself_stays(context):
    image = context.examples[0].image
    for one in swap_tops(context.pipeline, image, image)[1:]:
        assert torch.allclose(one, context.pipeline.reconstruct(image[None])[0], atol=1e-5)


def test_the_page_shows_what_is_known_and_every_try(context, ask, image):
    html = variants_html(context, ask("lower half"), image.expand(2, -1, -1, -1))
    assert re.findall(r"<figcaption><b>(.*?)</b>", html) == ["what is known", "try 1", "try 2"]
    assert "50 % of the image" in html
    html = variants_html(context, ask("all but the top level"), image[None])
    assert re.findall(r"<figcaption><b>(.*?)</b>", html) == ["the image", "try 1"]


def test_the_page_shows_both_images_and_both_mixtures(context):
    html = swap_html(context, *(example.image for example in context.examples))
    titles = re.findall(r"<figcaption><b>(.*?)</b>", html)
    assert titles == ["first image", "second image", "top of the second", "top of the first"]
