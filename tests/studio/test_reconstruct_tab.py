"""What the tab shows of an image: every level's codes, what they cost, and how close they bring it."""

import io
import re
from dataclasses import replace

import pytest
import torch

from vqvae2.codec.description import describe_compressed
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.report.text import format_number
from vqvae2.studio.reconstruct_tab import coded, numbers_html, pictures_html, reconstruct


@pytest.fixture
def image():
    return torch.rand(3, 13, 18, generator=torch.Generator().manual_seed(0)) * 2 - 1  # no multiple of the stride


@pytest.fixture
def without_priors(context):
    return replace(context, pipeline=Pipeline(context.pipeline.tokenizer, context.pipeline.config))


def test_each_level_adds_to_the_reconstruction(pipeline, image):
    made = reconstruct(pipeline, image)
    for level, decoded in enumerate(made.images):
        assert torch.equal(decoded, pipeline.reconstruct(image[None], levels=level + 1)[0])
        assert torch.equal(made.codes[level], pipeline.encode(image[None])[level])
        mse = (decoded.clamp(-1, 1) - image).square().mean().double()
        assert made.psnr_db[level] == pytest.approx(10 * torch.log10(4 / mse).item(), abs=1e-4)  # summed in float64


def test_the_whole_image_is_decoded_with_each_other_decoder_too(sharp_context, image):
    for name, other in (("faithful", "sharp"), ("sharp", "faithful")):
        own = sharp_context.by_decoder[name]
        made, wanted = (reconstruct(own.pipeline.using(one), image) for one in (name, other))
        assert list(made.others) == [other]
        decoded, psnr_db = made.others[other]
        assert torch.equal(decoded, wanted.images[-1])
        assert not torch.equal(decoded, made.images[-1])
        assert psnr_db == wanted.psnr_db[-1]
        assert f"<b>by the {other} decoder</b><small>{psnr_db:.1f} dB</small>" in pictures_html(own, made)


def test_no_file_is_made_without_priors_or_of_a_large_image_and_this_is_said(context, without_priors, image):
    large = torch.zeros(3, 256, 257)
    assert coded(without_priors, image) is coded(context, large) is None
    assert "has no priors" in numbers_html(without_priors, reconstruct(context.pipeline, image))
    assert "more than 65,536 pixels" in numbers_html(context, reconstruct(context.pipeline, large))


def test_the_page_shows_original_levels_and_codes(context, image):
    html = pictures_html(context, reconstruct(context.pipeline, image), about="a <b> note")
    titles = re.findall(r"<figcaption><b>(.*?)</b>", html)
    levels = [f"{start}{name} level{end}" for start, name, end in (("", "top", " alone"), ("with the ", "bottom", ""))]
    assert titles == ["original", levels[0], "codes of the top level", levels[1], "codes of the bottom level"]
    assert html.count("data:image/png;base64,") == 5
    assert "a &lt;b&gt; note" in html
    assert "5x4, each one of 5" in html


@pytest.mark.parametrize(("width", "is_large"), [(257, True), (128, False)])
def test_large_pictures_are_told_apart_from_enlarged_ones(context, width, is_large):
    html = pictures_html(context, reconstruct(context.pipeline, torch.zeros(3, 20, width)))
    assert ('class="row large"' in html) == is_large


def test_numbers_add_up_from_level_to_level(context, image):
    data = coded(context, image)
    assert data == context.pipeline.compress(image)
    html = numbers_html(context, reconstruct(context.pipeline, image), data)
    cells = re.findall(r"<td>(.*?)</td>", html)
    top, bottom = (8 * level["bytes"] for level in describe_compressed(io.BytesIO(data))["levels"])
    # Grids of 4x5 and 8x10, and five codes need three bits.
    assert [cells[0], cells[2], cells[5], cells[7]] == ["60", str(top), "300", str(top + bottom)]
    assert cells[6] == "1.28"  # 300 bits over 13 x 18 pixels
    assert f"{len(data)} bytes, {format_number(8 * len(data) / (13 * 18))} bits per pixel" in html
