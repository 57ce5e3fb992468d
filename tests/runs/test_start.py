"""Runs that start from a pipeline, and trainings that go on after their end."""

import shutil
from dataclasses import replace

import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2 import (
    CheckpointError,
    ConfigError,
    ImageConfig,
    OutputError,
    PixelSNAILConfig,
    TokenizerTrainingConfig,
    TransformerConfig,
)
from vqvae2.codes import Codes
from vqvae2.config import DecoderTrainingConfig, PriorTrainingConfig, RunConfig
from vqvae2.data import ImageFolder
from vqvae2.errors import StopRequested
from vqvae2.models.prior import code_nats
from vqvae2.runs.run import Run
from vqvae2.runs.start import start_config
from vqvae2.system.progress import Listener
from vqvae2.system.stopping import StopRequest
from vqvae2.training.states import load_training_state, save_training_state

NETWORKS = (
    TransformerConfig(hidden_channels=16, feedforward_channels=16, num_layers=1, num_heads=2),
    PixelSNAILConfig(hidden_channels=8, residual_channels=8, num_layers=2, attention_every=0, conditioning_layers=1),
)
CONFIG = RunConfig(
    minutes=0.0,
    images=ImageConfig(size=(16, 16), validation_fraction=0.3),
    tokenizer=TOY_TOKENIZER,
    tokenizer_training=TokenizerTrainingConfig(steps=6, batch_size=4),
    priors=NETWORKS,
    prior_trainings=(PriorTrainingConfig(steps=6, batch_size=4, label_dropout=0.5),),
    sharp_decoder=True,
    decoder_training=DecoderTrainingConfig(steps=2, batch_size=4, loss_network="none"),
)


def train(folder, images, config, runtime):
    run = Run.create(folder, config, runtime=runtime)
    run.prepare_images(ImageFolder(images))
    run.train_tokenizer()
    run.extract_codes()
    for level in range(run.num_levels):
        run.train_prior(level)
    if config.sharp_decoder:
        run.train_decoder()
    return run


@pytest.fixture
def first(tmp_path, image_folder, runtime):
    return train(tmp_path / "first", image_folder, CONFIG, runtime)


def slow(config):
    """The same run at rates so low that weights stay what they were."""
    return replace(
        config,
        tokenizer_training=replace(config.tokenizer_training, steps=1, learning_rate=1e-12, weight_decay=0.0),
        prior_trainings=(replace(config.prior_trainings[0], steps=1, learning_rate=1e-12, weight_decay=0.0),),
        decoder_training=replace(config.decoder_training, steps=1, learning_rate=1e-12),
    )


def test_all_models_start_from_those_of_a_pipeline(first, tmp_path, image_folder, runtime):
    config = slow(start_config(CONFIG, str(first.directory)))
    pipelines = [first.pipeline(), train(tmp_path / "second", image_folder, config, runtime).pipeline()]
    for part in ("tokenizer.encoders", "tokenizer.decoder", "priors.0", "priors.1", "sharp_decoder"):
        before, after = (_part(each, part).state_dict() for each in pipelines)
        torch.testing.assert_close(after, before, rtol=0, atol=1e-5, msg=part)


def _part(pipeline, path):
    for name in path.split("."):
        pipeline = pipeline[int(name)] if name.isdigit() else getattr(pipeline, name)
    return pipeline


def test_a_frozen_tokenizer_is_copied_with_its_sharp_decoder(first, tmp_path, image_folder, runtime):
    config = replace(start_config(CONFIG, str(first.directory)), freeze_tokenizer=True, sharp_decoder=False)
    second = train(tmp_path / "second", image_folder, config, runtime)
    for name in ("tokenizer", "sharp-decoder"):
        before, after = (run.directory / name / "model.safetensors" for run in (first, second))
        assert before.read_bytes() == after.read_bytes()
    assert second.pipeline().decoders == ("sharp", "faithful")
    assert "train tokenizer" not in second.record.steps
    numbers = first.images().indices("train")
    torch.testing.assert_close(second.codes().batch(numbers).maps, first.codes().batch(numbers).maps)
    assert train(second.directory, image_folder, config, runtime).record.steps == second.record.steps  # all is done
    with pytest.raises(ConfigError, match="`more_steps` must be 0 with `freeze_tokenizer`, got 5"):
        second.train_tokenizer(more_steps=5)


def test_classes_are_matched_by_name(first, tmp_path, image_folder, runtime):
    (image_folder / "squares").rename(image_folder / "triangles")
    config = replace(slow(start_config(CONFIG, str(first.directory))), freeze_tokenizer=True, sharp_decoder=False)
    second = train(tmp_path / "second", image_folder, config, runtime).pipeline()
    before, after = (prior.conditioning.label.weight for prior in (first.pipeline().priors[0], second.priors[0]))
    assert (first.pipeline().config.classes, second.config.classes) == (
        ("squares", "stripes"),
        ("stripes", "triangles"),
    )
    torch.testing.assert_close(after, before[[1, 2, 2]], rtol=0, atol=1e-5)  # a new class begins as no class


def test_priors_with_and_without_classes_start_from_each_other(first, tmp_path, image_folder, runtime):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted(image_folder.rglob("*.png")):
        shutil.copy(path, flat / f"{path.parent.name}-{path.name}")
    config = replace(slow(start_config(CONFIG, str(first.directory))), freeze_tokenizer=True, sharp_decoder=False)
    without = train(tmp_path / "without", flat, config, runtime)
    config = replace(config, start_from=str(without.directory))
    again = train(tmp_path / "again", image_folder, config, runtime).pipeline().priors
    for level, before in enumerate(first.pipeline().priors):
        weights, fewer, more = (
            prior.state_dict() for prior in (before, without.pipeline().priors[level], again[level])
        )
        assert set(weights) - set(fewer) == {name for name in weights if "label" in name}
        torch.testing.assert_close(fewer, {name: weights[name] for name in fewer}, rtol=0, atol=1e-5)
        torch.testing.assert_close({name: more[name] for name in fewer}, fewer, rtol=0, atol=1e-5)
        labels = more["conditioning.label.weight"]
        torch.testing.assert_close(labels, torch.zeros_like(labels), rtol=0, atol=1e-5)


def test_a_start_takes_the_networks_of_a_pipeline_but_not_their_dropout(first):
    others = replace(CONFIG, priors=(replace(NETWORKS[1], dropout=0.3),))
    config = start_config(others, str(first.directory))
    assert config.priors == tuple(replace(network, dropout=0.3) for network in NETWORKS)


def test_deeper_priors_start_as_those_of_the_pipeline(first, tmp_path, image_folder, runtime):
    config = slow(start_config(CONFIG, str(first.directory)))
    deeper = (replace(NETWORKS[0], num_layers=2), replace(NETWORKS[1], num_layers=3, attention_every=1))
    config = replace(config, priors=deeper, freeze_tokenizer=True, sharp_decoder=False)
    second = train(tmp_path / "second", image_folder, config, runtime).pipeline()
    codes = first.codes().batch(first.images().indices("validation"))
    for before, after in zip(first.pipeline().priors, second.priors, strict=True):
        known = Codes(codes.maps[: before.space.level + 1])
        torch.testing.assert_close(code_nats(after, known, None), code_nats(before, known, None), rtol=0, atol=1e-4)
        assert len(list(after.parameters())) > len(list(before.parameters()))


def test_a_prior_of_another_network_starts_from_nothing(first, tmp_path, image_folder, runtime, monkeypatch):
    told = []
    monkeypatch.setattr(Listener, "say", lambda _, text: told.append(text))
    source = str(first.directory)
    other = replace(start_config(CONFIG, source), priors=(replace(NETWORKS[0], hidden_channels=32), NETWORKS[1]))
    run = train(tmp_path / "second", image_folder, replace(other, freeze_tokenizer=True, sharp_decoder=False), runtime)
    assert run.pipeline().priors[0].config.network.hidden_channels == 32
    run.train_prior(0)  # resumed, which is no start
    assert [line for line in told if "start" in line] == [
        f"  this prior starts from nothing: {source} has none of this network"
    ]


def test_what_a_run_cannot_start_from_is_refused_before_anything_is_written(first, tmp_path, runtime):
    config = start_config(CONFIG, str(first.directory))
    other = replace(config, tokenizer=replace(TOY_TOKENIZER, strides=(4,)))
    with pytest.raises(
        OutputError, match=r"holds a tokenizer with another config \(`strides` is .*; ask for the same, or"
    ):
        Run.create(tmp_path / "run", other, runtime=runtime)
    with pytest.raises(CheckpointError, match="nowhere is neither a folder nor an id of the Hub"):
        Run.create(tmp_path / "run", replace(config, start_from="nowhere"), runtime=runtime)
    with pytest.raises(ConfigError, match="`freeze_tokenizer` needs a pipeline to take the tokenizer from"):
        replace(CONFIG, freeze_tokenizer=True)
    assert not (tmp_path / "run").exists()


def test_a_training_that_has_ended_goes_on_and_can_be_interrupted(first, tmp_path, runtime):
    def state(run):
        return load_training_state(max((run.directory / "prior-top" / "states").glob("*.pt")))

    whole = shutil.copytree(first.directory, tmp_path / "whole")
    run = Run.open(whole, runtime=runtime)
    result = run.train_prior(0, more_steps=10)
    assert (result.last_step, result.planned_steps) == (16, 16)
    rates = [row["learning_rate"] for row in state(run)["rows"]]
    assert rates[6] > rates[5]  # the schedule begins anew
    assert not Run.open(whole, runtime=runtime).train_prior(0).last_step > 16  # is done

    stop = StopRequest()
    stop.is_made = True
    with pytest.raises(StopRequested):
        Run.open(first.directory, runtime=replace(runtime, stop=stop)).train_prior(0, more_steps=10)
    again = Run.open(first.directory, runtime=runtime)
    with pytest.raises(ConfigError, match="`more_steps` must be 0 until the training has ended, got 7; end it first"):
        again.train_prior(0, more_steps=7)
    again.train_prior(0, more_steps=10)
    ours, theirs = state(again)["model"], state(run)["model"]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_best_model_of_all_steps_is_kept(first, runtime):
    before = (first.directory / "prior-top" / "model.safetensors").read_bytes()
    path = max((first.directory / "prior-top" / "states").glob("*.pt"))
    state = load_training_state(path)
    state["best"]["score"] = -1.0  # which no later step reaches
    save_training_state(state, path)
    first.train_prior(0, more_steps=3)
    assert (first.directory / "prior-top" / "model.safetensors").read_bytes() == before


def test_a_tokenizer_goes_on_only_before_there_are_codes_of_it(first, tmp_path, image_folder, runtime):
    with pytest.raises(
        OutputError, match="holds codes of this tokenizer, which more steps would make worthless; begin"
    ):
        first.train_tokenizer(more_steps=5)
    run = Run.create(tmp_path / "run", CONFIG, runtime=runtime)
    run.prepare_images(ImageFolder(image_folder))
    with pytest.raises(ConfigError, match="`more_steps` must be 0 until the training has ended, got 4"):
        run.train_tokenizer(more_steps=4)
    with pytest.raises(ConfigError, match="`more_steps` must be at least 0, got -1"):
        run.train_tokenizer(more_steps=-1)
    run.train_tokenizer()
    assert run.train_tokenizer(more_steps=4).last_step == 10


def test_a_second_decoder_goes_on(first):
    assert first.train_decoder(more_steps=3).last_step == 5
    assert first.pipeline().decoders == ("sharp", "faithful")
