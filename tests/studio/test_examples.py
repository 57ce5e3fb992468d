"""The examples are images that the pipeline was not trained on, at its size."""

import numpy as np
import torch

from vqvae2.config import ImageConfig
from vqvae2.data import BUILTIN_GROUP_PATTERN, BuiltinImages, ImageStore, validation_mask
from vqvae2.images import decode_image, from_pixels
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.examples import find_examples


def square(pipeline, side):
    return Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(side, side)))


def test_without_images_of_a_run_they_are_held_out_ones_of_the_built_in_set(pipeline, tmp_path):
    source = BuiltinImages()
    fraction = ImageConfig().validation_fraction
    held_out = validation_mask(source.names, fraction=fraction, group_pattern=BUILTIN_GROUP_PATTERN)
    examples = find_examples(tmp_path, square(pipeline, 64))
    records = [source[index] for index in np.flatnonzero(held_out)]
    images = from_pixels(torch.from_numpy(np.stack([decode_image(record.data, channels=3) for record in records])))
    assert len(examples) == 8
    assert len({example.name for example in examples}) == 8  # of as many classes
    for example in examples:
        assert (images == example.image).flatten(1).all(dim=1).any()


def test_they_have_the_pipelines_size(pipeline, tmp_path):
    assert {example.image.shape for example in find_examples(tmp_path, pipeline)} == {(3, 16, 24)}


def test_of_a_run_they_are_its_own_held_out_images(image_store, pipeline, tmp_path):
    store = ImageStore.open(tmp_path / "images")
    examples = find_examples(tmp_path, square(pipeline, 16), num_images=3)
    held_out = from_pixels(torch.from_numpy(store.read(store.indices("validation"))))
    assert len(examples) == 3
    for example in examples:
        assert (held_out == example.image).flatten(1).all(dim=1).any()


def test_images_of_another_size_or_that_are_damaged_are_passed_over(image_store, pipeline, tmp_path):
    builtin = find_examples(tmp_path / "elsewhere", pipeline)
    assert torch.equal(find_examples(tmp_path, pipeline)[0].image, builtin[0].image)
    (tmp_path / "images" / "images.json").write_text("{")
    assert len(find_examples(tmp_path, square(pipeline, 16))) == 8
