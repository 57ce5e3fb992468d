"""A pipeline's files beside those of other formats, and files that a visitor drops."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.codec.codec import Codec
from vqvae2.codec.description import describe_compressed
from vqvae2.errors import BitstreamError
from vqvae2.images import to_pixels
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.compress_tab import (
    compare_files,
    comparison_html,
    open_file,
    opened_html,
    shrink_to_compress,
)
from vqvae2.studio.image_formats import psnr_db
from vqvae2.studio.uploads import MOST_CODED_PIXELS


@pytest.fixture(scope="module")
def image(context):
    return context.examples[0].image


@pytest.fixture(scope="module")
def comparison(pipeline, image):
    return compare_files(pipeline, image)


def pixels_of(image):
    return to_pixels(image[None])[0].numpy()


def test_our_file_is_first_and_decodes_to_what_is_shown(pipeline, comparison):
    ours, *others = comparison.files
    decoded = pixels_of(pipeline.decompress(ours.data))
    assert np.array_equal(ours.pixels, decoded)
    assert ours.bits_per_pixel == 8 * len(ours.data) / (16 * 24)
    assert ours.psnr_db == pytest.approx(psnr_db(decoded, comparison.original))
    assert [one.name for one in others] == ["PNG", "JPEG", "WebP"]
    for one in others:
        assert one.psnr_db >= ours.psnr_db or "highest" in one.note


@pytest.mark.parametrize("decoder", ["faithful", "sharp"])
def test_a_file_is_the_same_with_each_decoder_and_shown_as_the_chosen_one_decodes_it(
    sharp_pipeline, image, comparison, decoder
):
    ours = compare_files(sharp_pipeline, image, decoder=decoder).files[0]
    decoded = pixels_of(sharp_pipeline.using(decoder).decompress(ours.data))
    assert ours.data == comparison.files[0].data
    assert np.array_equal(ours.pixels, decoded)
    assert np.array_equal(open_file(sharp_pipeline, ours.data, decoder=decoder).views[-1][1], decoded)


@pytest.mark.parametrize(("channels", "bit_depth", "shown"), [(1, 8, 1), (1, 16, 1), (4, 8, 3)])
def test_grey_and_transparent_images_are_compared_as_others_can_write_them(pipeline, channels, bit_depth, shown):
    tokenizer = VQVAE2(replace(pipeline.tokenizer.config, in_channels=channels)).eval()
    other = Pipeline(tokenizer, PipelineConfig(image_size=(16, 16), bit_depth=bit_depth))
    comparison = compare_files(other, torch.rand(channels, 16, 16) * 2 - 1)
    assert comparison.original.dtype == np.uint8
    assert {comparison.original.shape, *(one.pixels.shape for one in comparison.files)} == {(16, 16, shown)}
    assert comparison.files[0].setting == "raw"  # for want of priors
    assert open_file(other, comparison.files[0].data).facts["mode"] == "raw"


def test_a_large_image_is_scaled_down_and_this_is_said(image):
    smaller, note = shrink_to_compress(torch.rand(3, 600, 400) * 2 - 1)
    height, width = smaller.shape[1:]
    assert height * width <= MOST_CODED_PIXELS
    assert height / width == pytest.approx(1.5, rel=0.01)
    assert smaller.abs().max() <= 1.0
    assert f"from 400x600 to {width}x{height}" in note
    assert shrink_to_compress(image) == (image, "")


def test_a_file_opens_to_its_image_its_previews_and_its_facts(pipeline, image, comparison):
    data = comparison.files[0].data
    opened = open_file(pipeline, data)
    for level, (num_bytes, pixels) in enumerate(opened.views, start=1):
        assert np.array_equal(pixels, pixels_of(pipeline.decompress(data[:num_bytes], max_levels=level)))
        with pytest.raises(BitstreamError):
            pipeline.decompress(data[: num_bytes - 1], max_levels=level)
    assert [num_bytes for num_bytes, _ in opened.views][-1] == len(data)
    assert opened.facts == describe_compressed(io.BytesIO(data))
    html = opened_html(open_file(pipeline, pipeline.compress(image, label=1)), classes=("cat", "dog"))
    assert "dog" in html
    assert "its first" in html
    assert html.count("<img") == 2


def test_files_that_are_damaged_of_another_pipeline_or_of_a_large_image_are_refused(pipeline, image, comparison):
    data = comparison.files[0].data
    other = Pipeline(VQVAE2(pipeline.tokenizer.config).eval(), pipeline.config)
    raw = Codec(pipeline.tokenizer, pipeline.priors, max_pixels=2**20)
    large = raw.compress_batch([torch.zeros(3, 512, 512)], mode="raw")[0]
    for refused, message in (
        (data[:-3], None),
        (b"PNG" + data[3:], None),
        (b"", None),
        (compare_files(other, image).files[0].data, "tokenizer"),
        (large, r" 65536 .* 262144"),
    ):
        with pytest.raises(BitstreamError, match=message):
            open_file(pipeline, refused)


def test_the_table_has_a_row_per_file_and_bars_that_fit(comparison):
    html = comparison_html(comparison, about="A <note>.")
    assert html.count("<tr>") == 1 + 4
    assert html.count("<img") == 4  # PNG's is the original
    assert math.isinf(comparison.files[1].psnr_db)
    assert "width: 100.0%" in html
    assert "A &lt;note&gt;." in html
    # Random weights reconstruct nothing, so that anything is closer.
    assert "WebP (quality 0): even its lowest quality is as close or closer than our file." in html
