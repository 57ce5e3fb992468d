"""Files of a pipeline beside those of other formats, and files that a visitor drops."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.codec.codec import Codec
from vqvae2.codec.description import describe_compressed
from vqvae2.errors import BitstreamError, DataError
from vqvae2.images import to_pixels
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.hooks import Hooks
from vqvae2.studio.compress_tab import comparison_html, opened_html, read_dropped_file
from vqvae2.studio.file_comparison import (
    MOST_FILE_BYTES,
    MOST_PIXELS,
    compare_files,
    file_of_format,
    open_file,
    shrink_to_compress,
)
from vqvae2.studio.image_formats import FORMATS, psnr_db


@pytest.fixture
def image(context):
    return context.examples[0].image


def test_our_file_is_first_and_decodes_to_what_is_shown(pipeline, image):
    comparison = compare_files(pipeline, image)
    ours = comparison.files[0]
    decoded = to_pixels(pipeline.decompress(comparison.data)[None])[0].numpy()
    assert ours.name == "vqvae2"
    assert ours.num_bytes == len(comparison.data)
    assert ours.bits_per_pixel == 8 * ours.num_bytes / (16 * 24)
    assert np.array_equal(ours.pixels, decoded)
    assert ours.psnr_db == pytest.approx(psnr_db(decoded, comparison.original))


def test_other_formats_are_as_near_or_it_is_said_that_they_are_not(pipeline, image):
    ours, *others = compare_files(pipeline, image).files
    assert [one.name for one in others] == ["PNG", "JPEG", "WebP"]
    for one in others:
        assert one.psnr_db >= ours.psnr_db or "even its highest" in one.note


def test_it_is_said_where_the_lowest_quality_is_better_than_ours(pipeline, image):
    # Random weights reconstruct nothing, so that anything is better.
    html = comparison_html(compare_files(pipeline, image))
    assert "WebP (quality 0): even its lowest quality is as near or nearer than our file." in html


@pytest.mark.parametrize("name", ["JPEG", "WebP"])
def test_it_is_said_where_the_highest_quality_is_worse_than_ours(name, noise):
    (one,) = (one for one in FORMATS if one.name == name)
    assert file_of_format(one, noise, 200.0).note == "even its highest quality is not as near"


def test_a_format_without_loss_needs_no_note(noise):
    found = file_of_format(FORMATS[0], noise, 200.0)
    assert (found.note, found.psnr_db) == ("", math.inf)


def test_progress_is_told_to_its_end(pipeline, image):
    told = []
    compare_files(pipeline, image, hooks=Hooks(on_progress=lambda done, total: told.append((done, total))))
    assert told[-1][0] == told[-1][1] > 0


def test_a_pipeline_without_priors_writes_raw_files(pipeline, image):
    without = Pipeline(pipeline.tokenizer, pipeline.config)
    comparison = compare_files(without, image)
    assert comparison.files[0].setting == "raw"
    assert open_file(without, comparison.data).facts["mode"] == "raw"


@pytest.mark.parametrize(("channels", "bit_depth", "shown"), [(1, 8, 1), (1, 16, 1), (4, 8, 3)])
def test_grey_and_transparent_images_are_compared_as_others_can_write_them(pipeline, channels, bit_depth, shown):
    tokenizer = VQVAE2(replace(pipeline.tokenizer.config, in_channels=channels)).eval()
    other = Pipeline(tokenizer, PipelineConfig(image_size=(16, 16), bit_depth=bit_depth))
    comparison = compare_files(other, torch.rand(channels, 16, 16) * 2 - 1)
    assert comparison.original.shape == (16, 16, shown)
    assert comparison.original.dtype == np.uint8
    assert all(one.pixels.shape == (16, 16, shown) for one in comparison.files)


def test_a_large_image_is_made_smaller_and_that_is_said():
    smaller, note = shrink_to_compress(torch.rand(3, 600, 400) * 2 - 1)
    height, width = smaller.shape[1:]
    assert height * width <= MOST_PIXELS
    assert height / width == pytest.approx(1.5, rel=0.01)
    assert smaller.abs().max() <= 1.0
    assert f"from 400x600 to {width}x{height}" in note


def test_a_small_image_stays_as_it_is(image):
    assert shrink_to_compress(image) == (image, "")


def test_an_image_that_would_take_minutes_is_refused(pipeline):
    with pytest.raises(DataError, match="at most 65536 pixels, this one has 262144; make it smaller"):
        compare_files(pipeline, torch.zeros(3, 512, 512))


def test_a_file_opens_to_its_image_its_previews_and_its_facts(pipeline, image):
    data = compare_files(pipeline, image).data
    opened = open_file(pipeline, data)
    assert np.array_equal(opened.pixels, to_pixels(pipeline.decompress(data)[None])[0].numpy())
    (preview,) = opened.previews
    assert np.array_equal(preview, to_pixels(pipeline.decompress(data, max_levels=1)[None])[0].numpy())
    assert opened.facts == describe_compressed(io.BytesIO(data))


def test_so_many_bytes_are_all_that_a_preview_needs(pipeline, image):
    data = compare_files(pipeline, image).data
    (count,) = open_file(pipeline, data).preview_bytes
    pipeline.decompress(data[:count], max_levels=1)
    with pytest.raises(BitstreamError):
        pipeline.decompress(data[: count - 1], max_levels=1)


def test_a_file_of_another_pipeline_is_refused_in_a_line(pipeline, image):
    other = Pipeline(VQVAE2(pipeline.tokenizer.config).eval(), pipeline.config)
    with pytest.raises(BitstreamError, match="tokenizer"):
        open_file(pipeline, compare_files(other, image).data)


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: b"PNG" + data[3:], lambda data: b""])
def test_a_damaged_file_is_refused_in_a_line(pipeline, image, damage):
    with pytest.raises(BitstreamError):
        open_file(pipeline, damage(compare_files(pipeline, image).data))


def test_a_file_of_a_large_image_is_refused_before_it_is_decoded(pipeline):
    raw = Codec(pipeline.tokenizer, pipeline.priors, max_pixels=2**20)
    data = raw.compress(torch.zeros(3, 512, 512), mode="raw")
    with pytest.raises(BitstreamError, match="at most 65536 pixels, this one has 262144; use `vqvae2 decompress`"):
        open_file(pipeline, data)


def test_a_dropped_file_is_read_up_to_a_size(tmp_path):
    path = tmp_path / "file.vq2"
    path.write_bytes(b"x" * MOST_FILE_BYTES)
    assert len(read_dropped_file(path)) == MOST_FILE_BYTES
    path.write_bytes(b"x" * (MOST_FILE_BYTES + 1))
    with pytest.raises(DataError, match=f"at most {MOST_FILE_BYTES} bytes, this one is larger"):
        read_dropped_file(path)
    with pytest.raises(DataError, match="there is no file yet"):
        read_dropped_file(None)


def test_the_table_has_a_row_a_file_and_bars_that_fit(pipeline, image):
    html = comparison_html(compare_files(pipeline, image), note="A <note>.")
    assert html.count("<tr>") == 1 + 4
    assert html.count("<img") == 4  # that of PNG is the original
    assert "width: 100.0%" in html
    assert "A &lt;note&gt;." in html


def test_the_facts_name_the_class_of_the_file(pipeline, image):
    data = pipeline.compress(image, label=1)
    html = opened_html(open_file(pipeline, data), classes=("cat", "dog"))
    assert "dog" in html
    assert "its first" in html
    assert html.count("<img") == 2
