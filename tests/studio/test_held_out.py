"""Images to look at are held out, and fit the pipeline."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.config import BUILTIN_GROUP_PATTERN, ImageConfig, RunConfig
from vqvae2.data import BuiltinImages, ImageFolder, prepare_images, validation_mask
from vqvae2.errors import DataError
from vqvae2.images import decode_image, from_pixels
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.runs.record import RunRecord
from vqvae2.studio.held_out import BUILTIN_SET, find_examples, find_image_sets, find_runs, read_held_out


def square(pipeline, side):
    return Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(side, side)))


@pytest.fixture
def run(tmp_path, image_folder):
    """A run with images of 16x24 pixels, 8 of 40 of which are held out: its folder, and what it holds out."""
    directory = tmp_path / "runs" / "run"
    RunRecord.begin(directory, RunConfig())
    config = ImageConfig(size=(16, 24), validation_fraction=0.25)
    store = prepare_images(ImageFolder(image_folder), directory / "images", config)
    return directory, from_pixels(torch.from_numpy(store.read(store.indices("validation"))))


def are_among(examples, images):
    return all((images == example.image).flatten(1).all(dim=1).any() for example in examples)


def test_without_images_of_a_run_examples_are_built_in_ones(pipeline, tmp_path):
    source = BuiltinImages()
    held_out = validation_mask(source.names, ImageConfig(group_pattern=BUILTIN_GROUP_PATTERN))
    pixels = [decode_image(source.read(index), channels=3) for index in np.flatnonzero(held_out)]
    examples = find_examples(tmp_path, square(pipeline, 64))
    assert len(examples) == 8
    assert {example.name.replace(" ", "-") for example in examples} <= set(source.classes)
    assert are_among(examples, from_pixels(torch.from_numpy(np.stack(pixels))))
    assert {example.image.shape for example in find_examples(tmp_path, pipeline)} == {(3, 16, 24)}


def test_examples_of_a_run_are_its_own_held_out_images(run, pipeline):
    directory, held_out = run
    examples = find_examples(directory, pipeline)
    assert len(examples) == 8
    assert are_among(examples, held_out)


def test_images_of_another_size_or_that_are_damaged_are_refused_and_passed_over(
    run, image_store, context, pipeline, tmp_path
):
    with pytest.raises(DataError, match=r"`images`.*\(16, 24\).*\(16, 16\)"):
        read_held_out(image_store, pipeline, most=3)
    directory, _ = run
    other = square(pipeline, 16)
    builtin = find_examples(tmp_path / "elsewhere", other)
    assert torch.equal(find_examples(directory, other)[0].image, builtin[0].image)
    assert list(find_image_sets(replace(context, pipeline=other, runs_folder=directory.parent))) == [BUILTIN_SET]
    (directory / "images" / "images.json").write_text("{")
    assert len(find_examples(directory, pipeline)) == 8


def test_runs_offer_their_held_out_images_and_the_pipelines_own_comes_first(context, run):
    directory, held_out = run
    sets = find_image_sets(replace(context, source=str(directory), runs_folder=directory.parent))
    assert list(sets) == ["held-out images of the pipeline's run", BUILTIN_SET, "held-out images of run"]
    assert torch.equal(sets["held-out images of run"](), held_out)
    assert sets[BUILTIN_SET]().shape == (207, 3, 16, 24)  # the shape of the pipeline


def test_runs_are_the_folders_with_a_record_the_last_changed_first(tmp_path):
    for name in ("old", "new"):
        RunRecord.begin(tmp_path / name, RunConfig())
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file").write_text("")
    assert find_runs(tmp_path) == ["new", "old"]
    assert find_runs(tmp_path / "new") == ["."]
    assert find_runs(tmp_path / "nowhere") == []
