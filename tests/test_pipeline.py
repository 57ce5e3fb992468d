"""Tokenizer and priors as one object and one folder."""

import dataclasses
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqvae2.checkpoint import fingerprint
from vqvae2.config import EMAConfig, VQVAE2Config
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline import Pipeline
from vqvae2.pipeline_config import PipelineConfig

TINY = VQVAE2Config(
    strides=(2, 2),
    hidden_channels=8,
    residual_channels=4,
    residual_layers=1,
    quantizer=EMAConfig(num_embeddings=5, embedding_dim=4),
)


@pytest.fixture
def pipeline(make_prior):
    config = PipelineConfig(image_size=(16, 24), classes=("cat", "dog"), class_counts=(3, 1), has_priors=True)
    tokenizer = VQVAE2(TINY).eval()
    options = {"num_embeddings": 5, "above_num_embeddings": 5, "num_classes": 2, "tokenizer": fingerprint(tokenizer)}
    return Pipeline(tokenizer, config, tuple(make_prior(level, **options).float() for level in (0, 1)))


def test_a_saved_pipeline_samples_the_same_images(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    loaded = Pipeline.from_pretrained(tmp_path / "p")
    assert loaded.config == pipeline.config
    torch.testing.assert_close(loaded.sample(3, seed=4), pipeline.sample(3, seed=4))


def test_samples_have_the_size_of_the_training_images(pipeline):
    assert pipeline.sample(3, seed=0).shape == (3, 3, 16, 24)


@pytest.mark.parametrize("size", [(4, 9), (13, 5), (6, 6)])
def test_samples_have_sizes_that_codes_cover_only_in_part(pipeline, size):
    pipeline.config = dataclasses.replace(pipeline.config, image_size=size)
    assert pipeline.sample(2, seed=0).shape == (2, 3, *size)


def test_image_k_is_the_same_in_every_batch(pipeline):
    together = pipeline.sample(5, seed=0)
    torch.testing.assert_close(pipeline.sample(2, seed=0, first_image=3), together[3:], rtol=0, atol=1e-5)


@given(height=st.integers(1, 30), width=st.integers(1, 30), levels=st.sampled_from([None, 1]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_codes_and_reconstructions_fit_images_of_any_size(pipeline, height, width, levels):
    images = torch.zeros(2, 3, height, width)
    assert pipeline.encode(images).shapes == TINY.code_shapes(height, width)
    assert pipeline.reconstruct(images, levels=levels).shape == images.shape


def test_reconstruct_is_encode_then_decode(pipeline):
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(pipeline.reconstruct(images), pipeline.decode(pipeline.encode(images)))
    torch.testing.assert_close(
        pipeline.reconstruct(images, levels=1), pipeline.decode(pipeline.encode(images), levels=1)
    )


def test_labels_are_as_asked_or_as_frequent_as_in_training(pipeline):
    assert pipeline.labels(3, seed=0, label=1).tolist() == [1, 1, 1]
    assert 0.6 < (pipeline.labels(500, seed=0) == 0).float().mean() < 0.9


def test_a_class_has_a_name(pipeline):
    assert pipeline.class_index("dog") == 1
    with pytest.raises(ConfigError, match=r"`class` must be one of .*\(cat, dog\), got 'cow'"):
        pipeline.class_index("cow")


def test_priors_must_be_one_for_each_level(pipeline):
    with pytest.raises(CheckpointError, match=r"one for each of 2 levels, top first, got levels \[1\]"):
        Pipeline(pipeline.tokenizer, pipeline.config, pipeline.priors[1:])


def test_priors_of_another_tokenizer_are_refused(pipeline):
    torch.manual_seed(1)
    with pytest.raises(CheckpointError, match="was trained on codes of tokenizer"):
        Pipeline(VQVAE2(TINY).eval(), pipeline.config, pipeline.priors)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_class_that_does_not_exist_is_refused(pipeline, label):
    with pytest.raises(ConfigError, match=rf"`label` must be in 0\.\.1, got {label}"):
        pipeline.sample(1, label=label)


def test_without_priors_it_reconstructs_but_does_not_sample(pipeline, tmp_path):
    Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(16, 16))).save_pretrained(tmp_path)
    loaded = Pipeline.from_pretrained(tmp_path)
    assert loaded.reconstruct(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    with pytest.raises(CheckpointError, match="has no priors"):
        loaded.sample(1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("{", "not a readable config"),
        (json.dumps({"magic": "other"}), "'other'"),
        (json.dumps({"magic": "vqvae2.pipeline", "version": 1}), "of format version 1, this package reads 2; train"),
        (json.dumps({"colour": 1}), "`colour`"),
        (json.dumps({"bit_depth": 12}), "`bit_depth` must be 8 or 16, got 12"),
        (
            json.dumps({"bit_depth": 16}),
            "`config.bit_depth` must be 8 for a tokenizer of 3 channels, got 16; only grey",
        ),
    ],
)
def test_a_damaged_config_is_refused(pipeline, tmp_path, damage, message):
    pipeline.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(CheckpointError, match=message):
        Pipeline.from_pretrained(tmp_path)
