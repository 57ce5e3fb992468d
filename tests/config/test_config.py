"""Configs are strict: however one is made, an error says which field is wrong and what came."""

import dataclasses
import json
import re

import pytest

from vqvae2.config import (
    ClassifierConfig,
    ClassifierTrainingConfig,
    CodebookLossConfig,
    CodeSpace,
    DecoderConfig,
    DecoderTrainingConfig,
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
    RunConfig,
    SamplingConfig,
    TokenizerTrainingConfig,
    TrainingConfig,
    TransformerConfig,
    VQVAE2Config,
    level_names,
    network_of_family,
    require_same_config,
)
from vqvae2.config.presets import PRESETS, choose_preset, find_preset
from vqvae2.errors import ConfigError, OutputError

CLASSIFIER = ClassifierConfig(classes=("a", "b"))
CONFIGS = [
    *(EMAConfig(), CodebookLossConfig(), FSQConfig(), VQVAE2Config(quantizer=FSQConfig())),
    *(ImageConfig(), VQVAE2Config(), CodeSpace(), PixelSNAILConfig(), TransformerConfig(), PriorConfig()),
    *(TrainingConfig(), TokenizerTrainingConfig(), PriorTrainingConfig(), ClassifierTrainingConfig()),
    *(DecoderTrainingConfig(), DecoderConfig(tokenizer_config=VQVAE2Config(), tokenizer="0" * 32)),
    *(SamplingConfig(), EvaluationConfig(), ResNetConfig(), Lite0Config(), CLASSIFIER),
    *(dataclasses.replace(CLASSIFIER, network=Lite0Config()), RunConfig()),
]
DEFAULTS = {type(config): config for config in CONFIGS}


@pytest.mark.parametrize("config", [*CONFIGS, *PRESETS.values()], ids=lambda config: type(config).__name__)
def test_a_config_survives_json(config):
    read = type(config).from_dict(json.loads(json.dumps(config.to_dict())))
    assert read == config
    assert hash(read) == hash(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.steps = 1


# Each value alone makes the config wrong. In tuples, one entry does.
REFUSED = {
    VQVAE2Config: "hidden_channels='many' hidden_channels=10.5 hidden_channels=True hidden_channels=1 "
    "in_channels=None in_channels=0 strides=4 strides=() strides=(2,)*17 residual_channels=0 residual_layers=-1 "
    "quantizer='fsq' quantizer=None preview_weight=-1.0 preview_weight='0' "
    "preview_weight=1e999 preview_weight=1e999-1e999",
    EMAConfig: "num_embeddings=1 embedding_dim=0 commitment_cost=-1.0 gradient='none' decay=1.0 decay=-0.5 "
    "revival_threshold=1.0",
    CodebookLossConfig: "codebook_cost=0.0",
    FSQConfig: "num_values=(8,1) num_values=() num_values=(2,)*32",
    ImageConfig: "channels=2 bit_depth=12 size=(8,0) resize='cut' stream=1 validation_fraction=0.0 "
    "validation_fraction=1.0 group_pattern='(' group_pattern=3",
    TrainingConfig: "steps=0 steps=10.5 seed='7' seed=-1 patience=-1 schedule='step' ema_decay=1.0 batch_size=0 "
    "accumulation=0 learning_rate=0.0 weight_decay=-1.0 warmup_fraction=1.5 max_grad_norm=0.0 max_validations=0 "
    "keep_checkpoints=0 checkpoint_seconds=-1.0",
    PriorTrainingConfig: "label_dropout=2.0",
    ClassifierTrainingConfig: "label_smoothing=1.0 shift_fraction=-0.1",
    DecoderTrainingConfig: "loss_network='lpips' loss_network_pixels=0 feature_weight=-1.0 adversarial_weight=-1.0 "
    "ramp_steps=-1 lecam_weight=-1.0 shift_fraction=1.0 patience=1 drawn_share=1.0",
    DecoderConfig: "tokenizer_config=None tokenizer=3",
    PixelSNAILConfig: "hidden_channels=0 residual_channels=0 num_heads=0 num_kv_heads=0 num_layers=0 num_layers=257 "
    "conditioning_layers=257 output_layers=257 attention_every=-1 kernel_size=4 kernel_size=1 dropout=1.0",
    TransformerConfig: "feedforward_channels=0",
    CodeSpace: "level=16 level=-1 num_embeddings=(1,) num_classes=-1",
    SamplingConfig: "temperature=(1.0,-1.0) temperature=0.9 top_k=() top_k=(-2,) top_p=(0.5,0.0) top_p=(1.5,) "
    "guidance_scale=-1.0",
    ClassifierConfig: "in_channels=2 classes='ab'",
    ResNetConfig: "hidden_channels=0 num_blocks=() num_blocks=(2,0) num_blocks=(1,)*17 stem_stride=4",
    Lite0Config: "input_size=16 input_size=4097 is_frozen=None",
    EvaluationConfig: "acceptance_rates=() acceptance_rates=(0.5,0.0) acceptance_rates=(1.5,) num_samples=-1 "
    "classifier_epochs=-1 num_images=0 num_reference=0 batch_size=0 seed=-1",
    RunConfig: "minutes=-1.0 num_samples=-1 priors=() prior_trainings=() sharp_decoder='yes' default_decoder='blunt'",
}


def refusals(kind, values):
    """Refuse values by constructor, from a dictionary and by `replace`; give the messages."""
    default = DEFAULTS[kind]
    plain = {name: value.to_dict() if hasattr(value, "to_dict") else value for name, value in values.items()}
    for way in (
        lambda: kind(**{field.name: getattr(default, field.name) for field in dataclasses.fields(kind)} | values),
        lambda: kind.from_dict(default.to_dict() | plain),
        lambda: dataclasses.replace(default, **values),
    ):
        with pytest.raises(ConfigError) as caught:
            way()
        yield str(caught.value)


@pytest.mark.parametrize(("kind", "setting"), [(kind, each) for kind in REFUSED for each in REFUSED[kind].split()])
def test_a_wrong_value_is_told_with_its_field_in_one_line(kind, setting):
    field, value = setting.split("=")
    bad = eval(value)
    came = [bad, *([list(bad), *bad] if isinstance(bad, tuple) else [])]
    for message in refusals(kind, {field: bad}):
        assert re.match(rf"`{field}(\.\d+)?` must [^\n]*, got", message)
        assert message.endswith(tuple(f", got {value!r}" for value in came))


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (VQVAE2Config, {"strides": (3,)}, "`strides` .* powers of two .*, got 3"),
        (VQVAE2Config, {"strides": (2**9, 2**8)}, "`strides` .* 65536 times in all, got 131072"),
        (VQVAE2Config, {"detail_channels": 6}, r"`detail_channels` .* multiple of .* `strides` \(4\), got 6"),
        (VQVAE2Config, {"residual_layers": 129}, "`residual_layers` .* 256 .* got 129"),
        (FSQConfig, {"num_values": (2**16, 2**16)}, r"`num_values` .* 2\^31 codes"),
        (ImageConfig, {"size": (9460, 9459)}, "`size` .* 89478485 pixels in all, got 9460 9459"),
        (ImageConfig, {"bit_depth": 16}, "`bit_depth` .* `channels` .* got 16 for 3 channels"),
        (TrainingConfig, {"accumulation": 3}, r"`accumulation` must divide `batch_size` \(64\), got 3"),
        (PixelSNAILConfig, {"num_heads": 3}, r"`hidden_channels` .* `num_heads` \(3\), got 128"),
        (PixelSNAILConfig, {"num_kv_heads": 3}, r"`num_kv_heads` .* `num_heads` \(4\), got 3"),
        (TransformerConfig, {"hidden_channels": 12}, r"`hidden_channels` .* `num_heads` \(16\), .* got 12"),
        (CodeSpace, {"level": 1}, "`num_embeddings` .* 2 levels, got"),
        (CodeSpace, {"level": 1, "num_embeddings": (4, 4)}, "`upsampling` .* 1 levels above, got"),
        (ClassifierConfig, {"classes": ("a",)}, "`classes` .* 2 classes, got 1"),
        (ClassifierConfig, {"classes": ("a", "a")}, "`classes` .* got "),
        (ResNetConfig, {"num_blocks": (200, 57)}, "`num_blocks` .* 256 blocks in all, got 257"),
        (RunConfig, {"images": ImageConfig(channels=1)}, r"`tokenizer.in_channels` .* \(1\), got 3"),
        (RunConfig, {"images": ImageConfig(size=(9, 4))}, "`images.size` .* 8 pixels .* got 9 4"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_told(kind, values, message):
    for told in refusals(kind, values):
        assert re.match(message, told)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantizer": {"family": "ema", "decay": 1.0}}, "`quantizer.ema.decay` must be below 1.*, got 1.0"),
        ({"quantizer": {"family": "vq"}}, "`quantizer` .* 'ema', 'codebook-loss', 'fsq', got .*'vq'"),
        ({"quantizer": {"decay": 0.5}}, "`quantizer` .* `family`, got"),
        ({"quantizer": {"family": "fsq", "num_values": [65536, 65536]}}, "in `quantizer.fsq`, `num_values` must "),
    ],
)
def test_a_wrong_field_of_a_part_is_named_from_the_whole(values, message):
    with pytest.raises(ConfigError, match=message):
        VQVAE2Config.from_dict(values)


def test_missing_and_unknown_fields_are_named():
    for make in (lambda values: ClassifierConfig(**values), ClassifierConfig.from_dict):
        with pytest.raises(ConfigError, match="`classes` of ClassifierConfig is missing"):
            make({})
        with pytest.raises(ConfigError, match="`clases` is not a field of ClassifierConfig"):
            make({"classes": ("a", "b"), "clases": 3})


def test_integers_stand_for_floats():
    assert RunConfig(minutes=3) == RunConfig(minutes=3.0) == RunConfig.from_dict({"minutes": 3})


def test_another_config_is_refused_by_its_first_difference():
    saved = json.loads(json.dumps(VQVAE2Config().to_dict()))
    require_same_config("x holds a tokenizer", saved, VQVAE2Config())
    other = VQVAE2Config(strides=(4, 4), quantizer=EMAConfig(decay=0.5))
    with pytest.raises(OutputError, match=r"x holds a tokenizer .*`strides.1` is 2, asked for 4.* --force"):
        require_same_config("x holds a tokenizer", saved, other)
    with pytest.raises(OutputError, match=r"`quantizer.decay` is 0\.99, asked for 0\.5"):
        require_same_config("x", saved, other, may_change=("strides",))
    with pytest.raises(OutputError, match=r"`strides` is \[4, 2\], asked for \(4,\)"):
        require_same_config("x", saved, VQVAE2Config(strides=(4,)))
    with pytest.raises(OutputError, match="`extra` is 1, asked for None"):
        require_same_config("x", saved | {"extra": 1}, VQVAE2Config())


@pytest.mark.parametrize("names", ["top", "top bottom", "top mid bottom", "top mid1 mid2 bottom"])
def test_levels_are_named_from_the_top(names):
    assert level_names(len(names.split())) == tuple(names.split())


def test_a_prior_s_codes_are_described_from_the_hierarchy():
    space = CodeSpace.of_level(1, num_embeddings=(7, 8, 9), shapes=((2, 3), (4, 6), (16, 24)), num_classes=5)
    assert space == CodeSpace(level=1, num_embeddings=(7, 8), upsampling=(2,), num_classes=5)
    lowest = CodeSpace.of_level(2, num_embeddings=(7, 8, 9), shapes=((2, 3), (4, 6), (16, 24)), num_classes=0)
    assert lowest.upsampling == (8, 4)


def test_a_network_keeps_its_size_in_another_family():
    shared = {"hidden_channels": 32, "num_layers": 3, "num_heads": 2, "dropout": 0.3}
    network, transformer = PixelSNAILConfig(**shared), TransformerConfig(**shared, feedforward_channels=128)
    assert network_of_family(network, "transformer") == transformer
    assert network_of_family(network, "pixelsnail") is network
    assert network_of_family(transformer, "pixelsnail") == dataclasses.replace(network, residual_channels=32)


def test_the_last_value_stands_for_further_levels():
    config = RunConfig(tokenizer=VQVAE2Config(strides=(2, 2, 2)), priors=(PixelSNAILConfig(num_layers=3),))
    assert config.prior(2).num_layers == 3
    changed = config.with_prior(1, PixelSNAILConfig(num_layers=9), PriorTrainingConfig())
    assert [changed.prior(level).num_layers for level in range(3)] == [3, 9, 3]
    sampling = SamplingConfig(temperature=(0.5, 0.9), top_k=(3,))
    assert [sampling.level(level).temperature for level in range(3)] == [0.5, 0.9, 0.9]
    assert sampling.level(2) == LevelSampling(temperature=0.9, top_k=3, top_p=1.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "temperature 1"),
        ({"temperature": (1.0, 1.0), "guidance_scale": 2.0}, "guidance-scale 2"),
        ({"temperature": (0.9, 0.95), "top_k": (0, 0), "top_p": (0.9, 0.9)}, "temperature 0.9 / 0.95, top-p 0.9"),
    ],
)
def test_sampling_settings_are_told_by_what_they_change(settings, words):
    assert SamplingConfig(**settings).in_words == words


@pytest.mark.parametrize(
    ("device", "short_side", "name"),
    [
        *(("cpu", 8, "cpu32"), ("cpu", 32, "cpu32"), ("cpu", 64, "cpu64"), ("cpu", 4000, "cpu64")),
        *(("cuda", 28, "gpu32"), ("cuda", 256, "gpu256"), ("cuda", 200, "gpu256"), ("mps", 100, "gpu128")),
    ],
)
def test_the_preset_follows_device_and_image_size(device, short_side, name):
    assert choose_preset(device, short_side) == name
    assert find_preset(name) is PRESETS[name]


def test_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match=r"`preset` must be one of cpu32.*'huge'"):
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
