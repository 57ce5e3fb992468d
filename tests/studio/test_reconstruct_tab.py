"""What the tab shows of an image: every level's codes, what they cost, and what they bring."""

import io
import re

import pytest
import torch

from vqvae2.codec.description import describe_compressed
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.reconstruct_tab import numbers_html, pictures_html
from vqvae2.studio.reconstruction import FileSize, file_size, reconstruct


@pytest.fixture
def image():
    return torch.rand(3, 13, 18, generator=torch.Generator().manual_seed(0)) * 2 - 1  # of no multiple of the stride


def test_the_steps_are_reconstructions_from_ever_more_levels(pipeline, image):
    made = reconstruct(pipeline, image)
    assert [step.name for step in made.steps] == ["top", "bottom"]
    for level, step in enumerate(made.steps):
        assert torch.equal(step.image, pipeline.reconstruct(image[None], levels=level + 1)[0])
        assert torch.equal(step.codes, pipeline.encode(image[None])[level][0])
        mse = (step.image.clamp(-1, 1) - image).square().mean().double()
        assert step.psnr_db == pytest.approx(10 * torch.log10(4 / mse).item(), abs=1e-4)  # summed in float64
    assert [step.raw_bits for step in made.steps] == [4 * 5 * 3, 8 * 10 * 3]  # five codes need three bits


def test_a_file_costs_what_the_pipeline_writes(pipeline, image):
    data = pipeline.compress(image)
    levels = describe_compressed(io.BytesIO(data))["levels"]
    assert file_size(pipeline, image) == FileSize(len(data), tuple(level["bytes"] for level in levels))


def test_no_file_is_made_without_priors_or_of_a_large_image(pipeline, image):
    assert file_size(Pipeline(pipeline.tokenizer, pipeline.config), image) is None
    assert file_size(pipeline, torch.zeros(3, 256, 257)) is None


def test_the_page_shows_original_levels_and_codes(pipeline, image):
    html = pictures_html(reconstruct(pipeline, image), note="a <b> note")
    titles = re.findall(r"<figcaption><b>(.*?)</b>", html)
    assert titles == [
        "original",
        "top level alone",
        "codes of the top level",
        "with the bottom level",
        "codes of the bottom level",
    ]
    assert html.count("data:image/png;base64,") == 5
    assert "a &lt;b&gt; note" in html
    assert "5x4, each one of 5" in html


def test_large_pictures_are_told_apart_from_enlarged_ones(pipeline):
    assert 'class="row large"' in pictures_html(reconstruct(pipeline, torch.zeros(3, 20, 257)))
    assert 'class="row large"' not in pictures_html(reconstruct(pipeline, torch.zeros(3, 20, 128)))


def test_numbers_add_up_from_level_to_level(pipeline, image):
    html = numbers_html(reconstruct(pipeline, image), FileSize(50, (10, 20)))
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert [cells[0], cells[2], cells[5], cells[7]] == ["60", "80", "300", "240"]
    assert cells[6] == "1.28"  # 300 bits over 13 x 18 pixels
    assert "50 bytes, 1.71 bits per pixel" in html


def test_it_is_said_why_there_is_no_file(pipeline):
    small = reconstruct(pipeline, torch.zeros(3, 16, 24))
    assert "This pipeline has no priors" in numbers_html(small, None, has_priors=False)
    large = reconstruct(pipeline, torch.zeros(3, 256, 260))
    assert "For images of more than 65,536 pixels no file is made here." in numbers_html(large, None)
