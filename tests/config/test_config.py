"""Configs are strict: they say which field is wrong, what was wanted and what came."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqvae2.config import (
    ClassifierConfig,
    ClassifierTrainingConfig,
    CodebookLossConfig,
    CodeSpace,
    EMAConfig,
    EvaluationConfig,
    FSQConfig,
    ImageConfig,
    LevelSampling,
    Lite0Config,
    PixelSNAILConfig,
    PriorConfig,
    PriorTrainingConfig,
    ResNetConfig,
    SamplingConfig,
    TokenizerTrainingConfig,
    TrainingConfig,
    VQVAE2Config,
    level_names,
)
from vqvae2.config.presets import PRESETS, RunConfig, choose_preset, find_preset
from vqvae2.errors import ConfigError

CONFIGS = [
    *(EMAConfig(), CodebookLossConfig(), FSQConfig(), VQVAE2Config(quantizer=FSQConfig())),
    *(ImageConfig(), VQVAE2Config(), CodeSpace(), PixelSNAILConfig(), PriorConfig()),
    *(TokenizerTrainingConfig(), PriorTrainingConfig(), SamplingConfig()),
    *(ClassifierConfig(classes=("a", "b"), network=network) for network in (ResNetConfig(), Lite0Config())),
    *(ClassifierTrainingConfig(), EvaluationConfig()),
]


@pytest.mark.parametrize("config", [*CONFIGS, *PRESETS.values()], ids=lambda config: type(config).__name__)
def test_a_config_survives_json(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden_channels": 5}, "`hiden_channels` of VQVAE2Config"),
        ({"hidden_channels": "many"}, "`hidden_channels` of VQVAE2Config: .*integer.*got 'many'"),
        ({"quantizer": {"family": "ema", "num_embeddings": 1}}, "`num_embeddings` must be at least 2, got 1"),
        ({"quantizer": {"family": "ema", "decay": 1.0}}, "`decay` must be in 0..1, 1 excluded, got 1.0"),
        ({"quantizer": {"family": "ema", "revival_threshold": 1.0}}, "`revival_threshold` must be in 0..1"),
        ({"quantizer": {"family": "ema", "gradient": "none"}}, "quantizer.ema.gradient.* 'straight-through'"),
        ({"quantizer": {"family": "ema", "commitment_cost": -1.0}}, "`commitment_cost` must be at least 0"),
        ({"quantizer": {"family": "codebook-loss", "codebook_cost": 0.0}}, "`codebook_cost` must be above 0"),
        ({"quantizer": {"family": "codebook-loss", "decay": 0.9}}, "quantizer.codebook-loss.decay"),
        ({"quantizer": {"family": "fsq", "num_values": [8, 1]}}, "`num_values` must give at least 2 values"),
        ({"quantizer": {"family": "vq"}}, "`quantizer` of VQVAE2Config: .*'vq'.*'ema', 'codebook-loss', 'fsq'"),
        ({"strides": [3]}, "`strides` must be powers of two above 1, got 3"),
        ({"strides": []}, "`strides` must name one reduction a level"),
        ({"hidden_channels": 0}, "`hidden_channels` must be above 0, got 0"),
    ],
)
def test_a_wrong_field_is_named(values, message):
    with pytest.raises(ConfigError, match=message):
        VQVAE2Config.from_dict(values)


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (ImageConfig, {"channels": 2}, "`channels` must be 1, 3 or 4, got 2"),
        (ImageConfig, {"size": (8, 0)}, "`size` must be a height and a width above 0, got 8 0"),
        (ImageConfig, {"bit_depth": 12, "channels": 1}, "`bit_depth` must be 8 or 16, got 12"),
        (
            ImageConfig,
            {"bit_depth": 16},
            "`bit_depth` must be 8 unless `channels` is 1, got 16 for 3 channels; set one",
        ),
        (ImageConfig, {"validation_fraction": 1.0}, "`validation_fraction`"),
        (ImageConfig, {"group_pattern": "("}, r"`group_pattern` must be a regular expression, got '\('"),
        (ImageConfig, {"size": (9460, 9459)}, "`size` must be at most 89478485 pixels in all, got 9460 9459"),
        (VQVAE2Config, {"strides": (2,) * 17}, "`strides` must be at most 16, got 17"),
        (VQVAE2Config, {"strides": (2**9, 2**8)}, "`strides` must reduce an image at most 65536 times in all, got 131"),
        (VQVAE2Config, {"residual_layers": 129}, "`residual_layers` must be at most 256 on all 2 levels together, got"),
        (FSQConfig, {"num_values": (2,) * 32}, r"`num_values` must make at most 2\^31 codes, got"),
        (VQVAE2Config, {"hidden_channels": 1}, "`hidden_channels` must be at least 2, got 1"),
        (
            VQVAE2Config,
            {"quantizer": "fsq"},
            "`quantizer` must be a config of one of ema, codebook-loss, fsq, got 'fsq'",
        ),
        (TrainingConfig, {"accumulation": 3}, r"`accumulation` must divide `batch_size` \(64\), got 3"),
        (TrainingConfig, {"schedule": "step"}, "`schedule` must be 'cosine' or 'constant', got 'step'"),
        (TrainingConfig, {"ema_decay": 1.0}, "`ema_decay` must be in 0..1, 1 excluded, got 1.0"),
        (PixelSNAILConfig, {"kernel_size": 4}, "`kernel_size` must be odd"),
        (PixelSNAILConfig, {"num_heads": 3}, "`hidden_channels` must be a multiple of `num_heads`"),
        (PixelSNAILConfig, {"num_layers": 257}, "`num_layers` must be at most 256, got 257"),
        (PixelSNAILConfig, {"output_layers": 257}, "`output_layers` must be at most 256, got 257"),
        (CodeSpace, {"level": 16}, "`level` must be at most 15, got 16"),
        (PixelSNAILConfig, {"dropout": 1.0}, "`dropout`"),
        (TrainingConfig, {"patience": -1}, "`patience` must be at least 0, got -1"),
        (TrainingConfig, {"steps": 0}, "`steps` must be above 0, got 0"),
        (PriorTrainingConfig, {"label_dropout": 2.0}, "`label_dropout` must be in 0..1"),
        (SamplingConfig, {"temperature": (1.0, -1.0)}, "`temperature` must be at least 0, got -1.0"),
        (SamplingConfig, {"temperature": 0.9}, "`temperature` must be a tuple, one value a level, got 0.9"),
        (SamplingConfig, {"top_k": ()}, "`top_k` must hold at least one value, got none"),
        (SamplingConfig, {"top_k": (-2,)}, "`top_k` must be at least 0, got -2"),
        (SamplingConfig, {"top_p": (0.5, 0.0)}, r"`top_p` must be in 0\.\.1, 0 excluded, got 0.0"),
        (SamplingConfig, {"guidance_scale": -1.0}, "`guidance_scale` must be at least 0, got -1.0"),
        (CodeSpace, {"level": 1}, "`num_embeddings` must give a size"),
        (CodeSpace, {"level": 1, "num_embeddings": (4, 4)}, "`upsampling` must give a factor"),
        (ClassifierConfig, {"classes": ("a",)}, "`classes` must name at least 2 classes, got 1; sub-folders"),
        (ClassifierConfig, {"classes": ("a", "a")}, "`classes` must be names that differ"),
        (ClassifierConfig, {"classes": ("a", "b"), "in_channels": 2}, "`in_channels` must be 1, 3 or 4, got 2"),
        (ResNetConfig, {"num_blocks": ()}, "`num_blocks` must give at least 1 block for each"),
        (ResNetConfig, {"num_blocks": (2, 0)}, "`num_blocks` must give at least 1 block for each"),
        (
            ResNetConfig,
            {"num_blocks": (1,) * 17},
            "`num_blocks` must be at most 16 stages of 256 blocks in all, got 17",
        ),
        (ResNetConfig, {"stem_stride": 4}, "`stem_stride` must be 1 or 2, got 4"),
        (ResNetConfig, {"hidden_channels": 0}, "`hidden_channels` must be above 0, got 0"),
        (Lite0Config, {"input_size": 16}, "`input_size` must be at least 32 pixels, got 16"),
        (Lite0Config, {"input_size": 4097}, "`input_size` must be at most 4096, got 4097"),
        (ClassifierTrainingConfig, {"label_smoothing": 1.0}, "`label_smoothing` must be in 0..1"),
        (ClassifierTrainingConfig, {"shift_fraction": -0.1}, "`shift_fraction` must be in 0..1"),
        (RunConfig, {"minutes": -1.0}, "`minutes` must be at least 0"),
        (RunConfig, {"images": ImageConfig(channels=1)}, "`tokenizer.in_channels` must equal"),
        (RunConfig, {"images": ImageConfig(size=(4, 9))}, "`images.size` must be at least 8 pixels each way"),
        (RunConfig, {"images": ImageConfig(size=(9, 4))}, "`images.size` must be at least 8 pixels .* got 9 4"),
        (RunConfig, {"priors": ()}, "`priors` must hold at least one entry"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(config, values, message):
    with pytest.raises(ConfigError, match=message):
        config(**values)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([(4,), (4, 2), (2, 2, 2), (2, 4, 2, 2)]))
def test_code_shapes_cover_the_image(height, width, strides):
    config = VQVAE2Config(strides=strides)
    for (rows, columns), reduction in zip(config.code_shapes(height, width), config.reductions, strict=True):
        assert height <= rows * reduction < height + config.stride
        assert width <= columns * reduction < width + config.stride


def test_levels_are_named_from_the_top():
    assert level_names(1) == ("top",)
    assert level_names(2) == ("top", "bottom")
    assert level_names(3) == ("top", "mid", "bottom")
    assert level_names(4) == ("top", "mid1", "mid2", "bottom")


def test_a_prior_s_codes_are_described_from_the_hierarchy():
    space = CodeSpace.of_level(1, num_embeddings=(7, 8, 9), shapes=((2, 3), (4, 6), (16, 24)), num_classes=5)
    assert space == CodeSpace(level=1, num_embeddings=(7, 8), upsampling=(2,), num_classes=5)
    lowest = CodeSpace.of_level(2, num_embeddings=(7, 8, 9), shapes=((2, 3), (4, 6), (16, 24)), num_classes=0)
    assert lowest.upsampling == (8, 4)


def test_the_last_prior_stands_for_further_levels():
    config = RunConfig(tokenizer=VQVAE2Config(strides=(2, 2, 2)), priors=(PixelSNAILConfig(num_layers=3),))
    assert config.prior(2).num_layers == 3
    changed = config.with_prior(1, PixelSNAILConfig(num_layers=9), PriorTrainingConfig())
    assert [changed.prior(level).num_layers for level in range(3)] == [3, 9, 3]


def test_the_last_sampling_value_stands_for_further_levels():
    config = SamplingConfig(temperature=(0.5, 0.9), top_k=(3,))
    assert [config.level(level).temperature for level in range(3)] == [0.5, 0.9, 0.9]
    assert config.level(2) == LevelSampling(temperature=0.9, top_k=3, top_p=1.0)


@pytest.mark.parametrize(
    ("device", "short_side", "name"),
    [
        ("cpu", 8, "cpu32"),
        ("cpu", 32, "cpu32"),
        ("cpu", 64, "cpu64"),
        ("cpu", 4000, "cpu64"),
        ("cuda", 28, "gpu32"),
        ("cuda", 256, "gpu256"),
        ("cuda", 200, "gpu256"),
        ("mps", 100, "gpu128"),
    ],
)
def test_the_preset_follows_device_and_image_size(device, short_side, name):
    assert choose_preset(device, short_side) == name
    assert find_preset(name) is PRESETS[name]


def test_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match="`preset` must be one of cpu32"):
        find_preset("huge")


def test_only_priors_stop_by_themselves_and_the_paper_s_do_not():
    assert TrainingConfig().patience == TokenizerTrainingConfig().patience == 0
    assert PriorTrainingConfig().patience > 0
    for name in ("imagenet256", "ffhq1024"):
        assert {training.patience for training in PRESETS[name].prior_trainings} == {0}


@pytest.mark.parametrize(("epochs", "num_images", "steps"), [(20, 10_000, 1562), (20, 300, 500), (0, 10_000, 4000)])
def test_an_evaluation_s_classifiers_see_their_images_equally_often(epochs, num_images, steps):
    config = EvaluationConfig(classifier_epochs=epochs)
    assert config.training_on(num_images).steps == steps


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"acceptance_rates": ()}, "`acceptance_rates` must hold at least one rate, got none"),
        ({"acceptance_rates": (0.5, 0.0)}, r"`acceptance_rates` must be in 0\.\.1, 0 excluded, got 0.0"),
        ({"acceptance_rates": (1.5,)}, r"`acceptance_rates` must be in 0\.\.1, 0 excluded, got 1.5"),
        ({"num_samples": -1}, "`num_samples` must be at least 0, got -1"),
        ({"classifier_epochs": -1}, "`classifier_epochs` must be at least 0, got -1"),
        ({"num_images": 0}, "`num_images` must be above 0, got 0"),
        ({"num_reference": 0}, "`num_reference` must be above 0, got 0"),
        ({"batch_size": 0}, "`batch_size` must be above 0, got 0"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig(**values)
