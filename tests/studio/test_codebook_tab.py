"""Which codes are used, what they stand for, and what happens if they are changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.config import FSQConfig, ImageConfig, RunConfig
from vqvae2.data import ImageFolder, prepare_images
from vqvae2.errors import ConfigError, DataError
from vqvae2.images import from_pixels
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.runs.record import RunRecord
from vqvae2.studio.atlas_shelf import AtlasShelf
from vqvae2.studio.code_atlas import code_alone, codebook_sheet, make_atlas, patches_of_code, sheet_columns
from vqvae2.studio.code_editing import CellEdit, apply_edits, cell_at, clickable_map, decode_edited
from vqvae2.studio.codebook_tab import Editing, code_at, code_html, edited_html, first_code, usage_html
from vqvae2.studio.image_sets import BUILTIN_SET, find_image_sets, find_runs, held_out_images
from vqvae2.studio.pictures import to_picture

SIDES = (4, 2)
"""Pixels of a cell of each level of the tiny pipeline."""


@pytest.fixture
def images():
    return torch.rand(40, 3, 16, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.fixture
def atlas(pipeline, images):
    return make_atlas(pipeline, images)


def test_an_atlas_holds_what_the_pipeline_encodes(pipeline, images, atlas):
    for found, wanted in zip(atlas.codes, pipeline.encode(images), strict=True):
        assert torch.equal(found, wanted)
    assert atlas.pixels.shape == (40, 16, 24, 3)


def test_making_an_atlas_leaves_the_pipeline_alone(pipeline, images):
    make_atlas(pipeline, images)
    assert not any(module._forward_hooks for module in pipeline.tokenizer.modules())


def test_the_distance_of_a_cell_is_the_least_to_any_code(pipeline, images, atlas):
    """The quantizer took the nearest code, so no code's vector is nearer to the encoder's output."""
    tokenizer = pipeline.tokenizer
    features = []
    handle = tokenizer.quantizers[0].register_forward_hook(lambda _, inputs, __: features.append(inputs[0]))
    pipeline.encode(images)
    handle.remove()
    vectors = tokenizer.quantizers[0].embed(torch.arange(5)[None, :, None])[0, :, :, 0].T  # (K, D)
    distances = torch.cdist(features[0].permute(0, 2, 3, 1).flatten(0, 2), vectors).min(dim=1).values
    torch.testing.assert_close(atlas.distances[0].flatten(), distances, atol=1e-5, rtol=1e-4)


def test_an_atlas_knows_quantizers_of_other_kinds(pipeline):
    config = replace(pipeline.tokenizer.config, quantizer=FSQConfig())
    other = Pipeline(VQVAE2(config).eval(), PipelineConfig(image_size=(16, 16)))
    atlas = make_atlas(other, torch.rand(3, 3, 16, 16) * 2 - 1)
    code = first_code(atlas, 1, sheet=codebook_sheet(other, atlas, 1))
    assert code_alone(other, atlas, 1, code).shape == (16, 16, 3)


def test_usage_counts_every_cell(atlas):
    assert [int(usage.counts.sum()) for usage in atlas.usages] == [40 * 4 * 6, 40 * 8 * 12]


def test_the_most_used_code_comes_first(atlas):
    counts = atlas.usages[1].counts.numpy()[atlas.most_used(1)]
    assert (np.diff(counts) <= 0).all()


def test_patches_are_cut_where_the_code_is_the_nearest_first(atlas):
    level, code = 0, int(atlas.most_used(0)[0])
    found = patches_of_code(atlas, level, code, most=7)
    side, margin = SIDES[level], 8
    assert found.pixels.shape == (7, side + 2 * margin, side + 2 * margin, 3)
    assert found.total == int((atlas.codes[level] == code).sum())
    cells = (atlas.codes[level] == code).nonzero()
    distances = atlas.distances[level][tuple(cells.T)]
    image, row, column = cells[distances.argmin()].tolist()
    middle = found.pixels[0][margin : margin + side, margin : margin + side]
    top, left = row * side, column * side
    assert np.array_equal(middle, atlas.pixels[image][top : top + side, left : left + side])


def test_cells_at_the_edge_of_padded_images_have_patches_too(pipeline):
    atlas = make_atlas(pipeline, torch.rand(2, 3, 13, 17) * 2 - 1)
    for code in range(5):
        for level in (0, 1):
            found = patches_of_code(atlas, level, code, most=1000)
            assert len(found.pixels) == found.total


def test_a_code_that_never_occurs_has_no_patches(pipeline):
    atlas = make_atlas(pipeline, torch.zeros(1, 3, 4, 4))
    unused = int(atlas.most_used(0)[-1])
    found = patches_of_code(atlas, 0, unused)
    assert (len(found.pixels), found.total) == (0, 0)
    html = code_html(unused, atlas, 0, found, code_alone(pipeline, atlas, 0, unused))
    assert "occurs in none of these images" in html


@pytest.mark.parametrize("code", [-1, 5])
def test_a_code_outside_of_the_codebook_is_refused(atlas, code):
    with pytest.raises(ConfigError, match=f"`code` must be in 0..4, got {code}"):
        patches_of_code(atlas, 0, code)


def test_a_level_that_is_not_there_is_refused(atlas):
    with pytest.raises(ConfigError, match=r"`level` must be in 0\.\.1, got 2"):
        patches_of_code(atlas, 2, 0)


def test_alone_is_what_the_decoder_makes_of_one_code_everywhere(pipeline, atlas):
    alone = code_alone(pipeline, atlas, 0, 3)
    codes = Codes((torch.full((1, 4, 6), 3),))
    assert np.array_equal(alone, to_picture(pipeline.decode(codes)[0]))


def test_a_companion_stands_over_the_code_most_often(atlas):
    above = atlas.codes[0].repeat_interleave(2, 1).repeat_interleave(2, 2)
    for code in range(5):
        over = above[atlas.codes[1] == code]
        if len(over):
            assert (over == atlas.companion(1, code, above=0)).sum() == torch.bincount(over).max()


def test_a_sheet_has_a_tile_for_each_code_in_the_order_of_use(pipeline, atlas):
    for level, side in enumerate(SIDES):
        sheet = codebook_sheet(pipeline, atlas, level)
        columns = sheet_columns(5)
        assert sheet.shape == (2 * side, columns * side, 3)
        for rank, code in enumerate(atlas.most_used(level)):
            row, column = divmod(rank, columns)
            assert code_at((column * side + 1, row * side + 1), atlas, level, sheet=sheet) == code


def test_a_click_beside_the_tiles_gives_the_last_code(pipeline, atlas):
    sheet = codebook_sheet(pipeline, atlas, 0)
    assert code_at((sheet.shape[1] - 1, sheet.shape[0] - 1), atlas, 0, sheet=sheet) == atlas.most_used(0)[-1]


def test_the_first_code_is_one_of_the_codebook(pipeline, atlas):
    assert 0 <= first_code(atlas, 1, sheet=codebook_sheet(pipeline, atlas, 1)) < 5


def test_an_edit_changes_one_cell_and_the_last_one_counts(atlas):
    codes = atlas.codes.select(slice(0, 1))
    before = [level.clone() for level in codes]
    edited = apply_edits(codes, [CellEdit(1, 2, 3, 0), CellEdit(1, 2, 3, 4)], num_embeddings=(5, 5))
    assert edited[1][0, 2, 3] == 4
    others = torch.ones(8, 12, dtype=torch.bool)
    others[2, 3] = False
    assert torch.equal(edited[1][0][others], codes[1][0][others])
    assert torch.equal(edited[0], codes[0])
    assert all(torch.equal(*pair) for pair in zip(before, codes, strict=True))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (CellEdit(2, 0, 0, 0), "`level` must be in 0..1, got 2"),
        (CellEdit(0, 4, 0, 0), "the cell must be in a grid of 4x6, got 4, 0"),
        (CellEdit(0, 0, -1, 0), "the cell must be in a grid of 4x6, got 0, -1"),
        (CellEdit(1, 0, 0, 5), "`code` must be in 0..4, got 5"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(atlas, edit, message):
    with pytest.raises(ConfigError, match=message):
        apply_edits(atlas.codes, [edit], num_embeddings=(5, 5))


def test_a_cell_keeps_one_edit():
    editing = Editing(cell=(1, 2)).with_code(0, 3).with_code(1, 4).with_code(0, 2)
    assert editing.edits == (CellEdit(1, 1, 2, 4), CellEdit(0, 1, 2, 2))


def test_without_a_cell_nothing_can_be_put():
    with pytest.raises(ConfigError, match="no cell is chosen; click one of the image's codes first"):
        Editing().with_code(0, 1)


def test_another_image_begins_anew_and_another_level_does_not():
    editing = Editing(image=3, cell=(0, 0)).with_code(0, 1)
    assert editing.at(3) == Editing(image=3, edits=editing.edits)
    assert editing.at(4) == Editing(image=4)


def test_without_edits_nothing_differs(pipeline, atlas):
    codes = atlas.codes.select(slice(0, 1))
    found = decode_edited(pipeline, codes, codes, size=(16, 24))
    assert np.array_equal(found.before, found.after)
    assert (found.factor, found.changed_share, found.difference.max()) == (1.0, 0.0, 0)
    assert "Click a cell" in edited_html(atlas.pixels[0], found, num_edits=0)


def test_an_edit_shows_where_it_changes_the_image(pipeline, atlas):
    codes = atlas.codes.select(slice(0, 1))
    other = (int(codes[1][0, 0, 0]) + 1) % 5
    edited = apply_edits(codes, [CellEdit(1, 0, 0, other)], num_embeddings=(5, 5))
    found = decode_edited(pipeline, codes, edited, size=(16, 24))
    moved = (found.before != found.after).any(axis=2)
    assert found.changed_share == pytest.approx(moved.mean())
    assert moved[:4, :4].any()
    assert not moved[12:, 20:].any()  # the decoder does not see as far
    assert found.difference.max() == 255
    assert not found.difference[~moved].any()
    assert "1 change" in edited_html(atlas.pixels[0], found, num_edits=1)


@pytest.mark.parametrize("level", [0, 1])
def test_a_click_on_the_map_finds_its_cell(atlas, level):
    shape = atlas.codes.shapes[level]
    picture = clickable_map(atlas.codes.select(slice(0, 1)), level, cell=None)
    factor = picture.shape[0] // shape[0]
    for row in range(shape[0]):
        for column in range(shape[1]):
            assert cell_at((column * factor, row * factor + factor - 1), shape) == (row, column)
    assert cell_at((picture.shape[1] + 50, -3), shape) == (0, shape[1] - 1)


def test_the_chosen_cell_is_framed_and_no_other(atlas):
    codes = atlas.codes.select(slice(0, 1))
    plain, framed = (clickable_map(codes, 0, cell=cell) for cell in (None, (1, 2)))
    factor = plain.shape[0] // 4
    changed = (plain != framed).any(axis=2)
    inside = np.zeros_like(changed)
    inside[factor : 2 * factor, 2 * factor : 3 * factor] = True
    assert changed.any()
    assert not changed[~inside].any()


def test_usage_is_shown_with_perplexity_and_share(atlas):
    html = usage_html(atlas, 0, name="top")
    assert "<svg" in html
    assert "perplexity" in html
    assert "in use" in html
    assert "960 cells of 40 images" in html


def test_the_built_in_set_gets_the_shape_of_the_pipeline(context):
    sets = find_image_sets(context.pipeline, context.source, context.runs_folder)
    assert list(sets) == [BUILTIN_SET]
    images = sets[BUILTIN_SET]()
    assert images.shape == (141, 3, 16, 24)


@pytest.fixture
def run_with_images(context, image_folder):
    """A run with images of 16x24 pixels, 12 of 40 of which are held out."""
    directory = context.runs_folder / "run"
    RunRecord.begin(directory, RunConfig())
    config = ImageConfig(size=(16, 24), validation_fraction=0.3)
    return directory, prepare_images(ImageFolder(image_folder), directory / "images", config)


def test_a_run_offers_its_held_out_images(context, run_with_images):
    _, store = run_with_images
    sets = find_image_sets(context.pipeline, context.source, context.runs_folder)
    assert list(sets) == [BUILTIN_SET, "held-out images of run"]
    wanted = from_pixels(torch.from_numpy(store.read(store.indices("validation"))))
    assert torch.equal(sets["held-out images of run"](), wanted)


def test_the_run_of_the_pipeline_itself_comes_first(context, run_with_images):
    directory, _ = run_with_images
    sets = find_image_sets(context.pipeline, str(directory), context.runs_folder)
    assert next(iter(sets)) == "held-out images of the pipeline's run"


def test_runs_are_the_folders_with_a_record_the_last_changed_first(context):
    for name in ("old", "new"):
        RunRecord.begin(context.runs_folder / name, RunConfig())
    (context.runs_folder / "no-run").mkdir()
    (context.runs_folder / "file").write_text("")
    assert find_runs(context.runs_folder) == ["new", "old"]
    assert find_runs(context.runs_folder / "new") == ["."]
    assert find_runs(context.runs_folder / "nowhere") == []


def test_images_of_another_size_are_refused(context, run_with_images):
    directory, _ = run_with_images
    other = Pipeline(context.pipeline.tokenizer, PipelineConfig(image_size=(16, 16)))
    with pytest.raises(DataError, match="must have size, channels and bit depth of the pipeline"):
        held_out_images(directory, other)
    assert list(find_image_sets(other, "toy", context.runs_folder)) == [BUILTIN_SET]


def test_an_atlas_is_made_once(context):
    shelf = AtlasShelf(context)
    assert shelf.atlas(BUILTIN_SET) is shelf.atlas(BUILTIN_SET)
    assert shelf.sheet(BUILTIN_SET, 0).shape[1] > 400


@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 8), (1, 16), (4, 8)])
@pytest.mark.parametrize("strides", [(4,), (2, 2, 2)])
def test_every_kind_of_pipeline_can_be_looked_at(context, channels, bit_depth, strides):
    config = replace(context.pipeline.tokenizer.config, in_channels=channels, strides=strides)
    other = Pipeline(VQVAE2(config).eval(), PipelineConfig(image_size=(20, 12), bit_depth=bit_depth))
    shelf = AtlasShelf(replace(context, pipeline=other))
    atlas = shelf.atlas(BUILTIN_SET)
    level = len(strides) - 1
    code = first_code(atlas, level, sheet=shelf.sheet(BUILTIN_SET, level))
    assert code_alone(other, atlas, level, code).shape == (20, 12, 3)
    codes = atlas.codes.select(slice(0, 1))
    edited = apply_edits(codes, [CellEdit(level, 0, 0, code)], num_embeddings=atlas.num_embeddings)
    assert decode_edited(other, codes, edited, size=(20, 12)).after.shape == (20, 12, 3)
