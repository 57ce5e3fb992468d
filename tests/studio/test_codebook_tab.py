"""Which codes are used, what they stand for, and what happens if they are changed."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.config import FSQConfig
from vqvae2.errors import ConfigError
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.app import build_studio
from vqvae2.studio.code_atlas import AtlasShelf, CodeAtlas
from vqvae2.studio.code_editing import CellEdit, Editing, amplified_difference, cell_at, clickable_map
from vqvae2.studio.codebook_tab import code_html, edited_html, usage_html
from vqvae2.studio.held_out import BUILTIN_SET
from vqvae2.studio.turns import Turns

SIDES = (4, 2)
"""Pixels of a cell of each level of the tiny pipeline."""


@pytest.fixture(scope="module")
def images():
    return torch.rand(40, 3, 16, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.fixture(scope="module")
def atlas(context, images):
    return CodeAtlas(context, images)


@pytest.fixture
def codes(atlas):
    """Of the first image."""
    return atlas.codes.select(slice(0, 1))


def test_an_atlas_holds_what_the_pipeline_encodes_and_leaves_it_alone(pipeline, images, atlas):
    assert all(torch.equal(*pair) for pair in zip(atlas.codes, pipeline.encode(images), strict=True))
    assert atlas.pixels.shape == (40, 16, 24, 3)
    assert not any(module._forward_hooks for module in pipeline.tokenizer.modules())
    assert [int(usage.counts.sum()) for usage in atlas.usages] == [40 * 4 * 6, 40 * 8 * 12]
    html = usage_html(atlas, 0, name="top")
    assert all(text in html for text in ("<svg", "perplexity", "in use", "960 cells of 40 images"))


def test_the_distance_of_a_cell_is_the_least_to_any_code(pipeline, images, atlas):
    """The quantizer took the nearest code, so no code's vector is nearer to the encoder's output."""
    tokenizer = pipeline.tokenizer
    features = []
    handle = tokenizer.to_embedding[0].register_forward_hook(lambda _, __, output: features.append(output))
    pipeline.encode(images)
    handle.remove()
    vectors = tokenizer.quantizers[0].embed(torch.arange(5)[None, :, None])[0, :, :, 0].T  # (K, D)
    distances = torch.cdist(features[0].permute(0, 2, 3, 1).flatten(0, 2), vectors).min(dim=1).values
    torch.testing.assert_close(atlas.distances[0].flatten(), distances, atol=1e-5, rtol=1e-4)


def test_patches_are_cut_where_the_code_is_the_nearest_first(atlas):
    level, code = 0, int(atlas.most_used(0)[0])
    found = atlas.patches(level, code, most=7)
    side, margin = SIDES[level], 8
    assert found.shape == (7, side + 2 * margin, side + 2 * margin, 3)
    cells = (atlas.codes[level] == code).nonzero()
    image, row, column = cells[atlas.distances[level][tuple(cells.T)].argmin()].tolist()
    top, left = row * side, column * side
    middle = found[0][margin : margin + side, margin : margin + side]
    assert np.array_equal(middle, atlas.pixels[image][top : top + side, left : left + side])


def test_every_cell_of_a_code_has_a_patch_at_the_edge_of_padded_images_too(context):
    atlas = CodeAtlas(context, torch.zeros(1, 3, 13, 17))
    counts = {(level, code): int((atlas.codes[level] == code).sum()) for level in (0, 1) for code in range(5)}
    assert 0 in counts.values()
    for (level, code), count in counts.items():
        assert len(atlas.patches(level, code, most=1000)) == count
        assert ("occurs in none of these images" in code_html(atlas, level, code)) == (count == 0)


def test_alone_is_what_the_decoder_makes_of_one_code_everywhere(context, atlas):
    codes = Codes((torch.full((1, 4, 6), 3),))
    assert np.array_equal(atlas.alone(0, 3), context.picture(context.pipeline.decode(codes)[0]))


def test_each_decoder_has_an_atlas_of_the_same_codes(sharp_context):
    shelf, codes = AtlasShelf(sharp_context), Codes((torch.full((1, 4, 6), 3),))
    atlases = {name: shelf[name, BUILTIN_SET] for name in ("faithful", "sharp")}
    for name, atlas in atlases.items():
        decoded = sharp_context.pipeline.decode(codes, decoder=name)[0]
        assert np.array_equal(atlas.alone(0, 3), sharp_context.picture(decoded))
    maps = zip(*(atlas.codes for atlas in atlases.values()), strict=True)
    assert all(torch.equal(*pair) for pair in maps)
    assert not np.array_equal(*(atlas.sheets[0].pixels for atlas in atlases.values()))


def test_a_code_is_shown_before_its_atlas_is_made_where_one_thread_computes_at_a_time(context, in_a_loop):
    page = in_a_loop(build_studio, replace(context, turns=Turns(torch.device("cuda"))))
    (about,) = (fn.fn for fn in page.fns.values() if fn.fn and fn.fn.__name__ == "about")
    thread = threading.Thread(target=about, args=("faithful", BUILTIN_SET, 0, 0), daemon=True)
    thread.start()
    thread.join(60.0)
    assert not thread.is_alive()


def test_a_companion_covers_the_code_most_often(atlas):
    above = atlas.codes[0].repeat_interleave(2, 1).repeat_interleave(2, 2)
    for code in range(5):
        over = above[atlas.codes[1] == code]
        if len(over):
            assert (over == atlas.companion(1, code, above=0)).sum() == torch.bincount(over).max()


@pytest.mark.parametrize("level", [0, 1])
def test_a_sheet_has_a_tile_for_each_code_the_most_used_first(atlas, level):
    sheet, order = atlas.sheets[level], atlas.most_used(level)
    assert (np.diff(atlas.usages[level].counts.numpy()[order]) <= 0).all()
    assert sheet.pixels.shape == (2 * sheet.side, 3 * sheet.side, 3)
    assert sheet.pixels.shape[1] > 400
    for rank, code in enumerate(order):
        row, column = divmod(rank, 3)
        assert sheet.code_at((column * sheet.side + 1, row * sheet.side + 1)) == code
    assert sheet.code_at((sheet.pixels.shape[1] - 1, sheet.pixels.shape[0] - 1)) == order[-1]  # beside the tiles
    assert sheet.first_code() in order


def test_an_edit_changes_one_cell_of_a_copy_and_the_last_one_wins(codes):
    before = [level.clone() for level in codes]
    edited = Editing(edits=(CellEdit(1, 2, 3, 0), CellEdit(1, 2, 3, 4))).apply(codes)
    others = torch.ones(8, 12, dtype=torch.bool)
    others[2, 3] = False
    assert edited[1][0, 2, 3] == 4
    assert torch.equal(edited[1][0][others], codes[1][0][others])
    assert torch.equal(edited[0], codes[0])
    assert all(torch.equal(*pair) for pair in zip(before, codes, strict=True))


def test_a_visitor_edits_a_chosen_cell_once_per_level():
    editing = Editing(image=3, cell=(1, 2)).with_code(0, 3).with_code(1, 4).with_code(0, 2)
    assert editing.edits == (CellEdit(1, 1, 2, 4), CellEdit(0, 1, 2, 2))
    assert editing.at(3) == Editing(image=3, edits=editing.edits)  # another level
    assert editing.at(4) == Editing(image=4)
    with pytest.raises(ConfigError, match="no cell is chosen"):
        Editing().with_code(0, 1)


def test_an_edit_shows_where_it_changes_the_image_and_without_any_nothing_differs(atlas, codes):
    other = (int(codes[1][0, 0, 0]) + 1) % 5
    edited = Editing(edits=(CellEdit(1, 0, 0, other),)).apply(codes)
    before, after = atlas.decode(Codes.concatenate([codes, edited]))
    difference, factor = amplified_difference(before, after)
    moved = (before != after).any(axis=2)
    assert moved[:4, :4].any()
    assert not moved[12:, 20:].any()  # the decoder does not see as far
    assert factor > 1
    assert difference.max() == 255
    assert not difference[~moved].any()
    assert "1 change" in edited_html(atlas.pixels[0], before, after, num_edits=1)
    difference, factor = amplified_difference(before, before)
    assert (difference.max(), factor) == (0, 1.0)
    assert "Click a cell" in edited_html(atlas.pixels[0], before, before, num_edits=0)


@pytest.mark.parametrize("level", [0, 1])
def test_a_click_on_the_map_finds_its_cell_and_only_the_chosen_one_is_framed(atlas, codes, level):
    shape = atlas.codes.shapes[level]
    plain, framed = (clickable_map(codes, level, cell=cell) for cell in (None, (1, 2)))
    factor = plain.shape[0] // shape[0]
    for row, column in np.ndindex(shape):
        assert cell_at((column * factor, row * factor + factor - 1), shape) == (row, column)
    assert cell_at((plain.shape[1] + 50, -3), shape) == (0, shape[1] - 1)
    rows, columns = (plain != framed).any(axis=2).nonzero()
    assert {cell_at(point, shape) for point in zip(columns, rows, strict=True)} == {(1, 2)}


@pytest.mark.parametrize(
    ("channels", "bit_depth", "strides", "other"),
    [(1, 8, (2, 2, 2), {}), (1, 16, (4,), {}), (4, 8, (2, 2), {"quantizer": FSQConfig()})],
)
def test_every_kind_of_pipeline_can_be_looked_at_in_one_atlas(context, channels, bit_depth, strides, other):
    config = replace(context.pipeline.tokenizer.config, in_channels=channels, strides=strides, **other)
    pipeline = Pipeline(VQVAE2(config).eval(), PipelineConfig(image_size=(20, 12), bit_depth=bit_depth))
    shelf, level = AtlasShelf(replace(context, pipeline=pipeline)), len(strides) - 1
    atlas = shelf["faithful", BUILTIN_SET]
    assert shelf["faithful", BUILTIN_SET] is atlas
    code = atlas.sheets[level].first_code()
    editing = Editing(edits=(CellEdit(level, 0, 0, code),))
    (after,) = atlas.decode(editing.apply(atlas.codes.select(slice(0, 1))))
    assert atlas.alone(level, code).shape == after.shape == (20, 12, 3)
