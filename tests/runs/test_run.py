"""A run as one object."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from torch import nn

from toy_models import TOY_TOKENIZER, ToyFeatureMaps
from vqvae2 import DecoderTrainingConfig, FeatureNetwork, ImageConfig, TokenizerTrainingConfig
from vqvae2.config import RunConfig, SamplingConfig
from vqvae2.config.presets import PRESETS
from vqvae2.data import ImageFolder
from vqvae2.errors import ConfigError
from vqvae2.pipeline.config import write_pipeline_config
from vqvae2.runs.record import RunRecord
from vqvae2.runs.run import Run


def test_a_second_decoder_must_be_planned_before_it_is_trained(tmp_path, runtime):
    run = Run(RunRecord.begin(tmp_path, RunConfig()), runtime=runtime)
    with pytest.raises(ConfigError, match="`sharp_decoder` of the run must be True to train one, got False; call `set"):
        run.train_decoder()


def test_batches_that_the_processes_cannot_divide_are_refused_before_anything_is_written(tmp_path, runtime):
    many = replace(runtime, accelerator=SimpleNamespace(num_processes=16))
    config = RunConfig(sharp_decoder=True)
    wanted = r"`decoder_training.batch_size` must be a multiple of `accumulation` \(1\) times the number of processes"
    with pytest.raises(ConfigError, match=wanted + r" \(16\), got 8"):
        Run.create(tmp_path / "run", config, runtime=many)
    assert not (tmp_path / "run").exists()
    Run.create(tmp_path / "run", RunConfig(), runtime=many)
    with pytest.raises(ConfigError, match=wanted):
        Run.create(tmp_path / "run", config, runtime=many)
    Run.create(tmp_path / "run", replace(config, decoder_training=PRESETS["gpu64"].decoder_training), runtime=many)


def test_a_training_that_is_done_is_not_divided_any_more(tmp_path, runtime):
    many = replace(runtime, accelerator=SimpleNamespace(num_processes=128))
    record = RunRecord.begin(tmp_path, RunConfig())
    with pytest.raises(ConfigError, match=r"`tokenizer_training.batch_size` must be a multiple"):
        Run.create(tmp_path, RunConfig(), runtime=many)
    record.seconds |= {"train tokenizer": 1.0, "train prior, top": 1.0}
    record.save()
    with pytest.raises(ConfigError, match=r"`prior_trainings.1.batch_size` must be a multiple"):
        Run.create(tmp_path, RunConfig(), runtime=many)


def test_the_loss_of_a_second_decoder_looks_through_any_network_with_maps(tmp_path, image_folder, runtime):
    config = RunConfig(
        images=ImageConfig(size=(16, 16), validation_fraction=0.3),
        tokenizer=TOY_TOKENIZER,
        tokenizer_training=TokenizerTrainingConfig(steps=1, batch_size=4),
        sharp_decoder=True,
        decoder_training=DecoderTrainingConfig(steps=1, batch_size=4),
    )
    run = Run.create(tmp_path / "run", config, runtime=runtime)
    run.prepare_images(ImageFolder(image_folder))
    run.train_tokenizer(minutes=0.0)
    with pytest.raises(ConfigError, match="`network` must give feature maps, see `FeatureMaps`, got Blind"):
        run.train_decoder(minutes=0.0, network=FeatureNetwork("Blind", nn.Identity(), "none"))
    run.train_decoder(minutes=0.0, network=FeatureNetwork("Toy", ToyFeatureMaps(), "none"))
    assert run.config.decoder_training.loss_network == "own"
    assert run.pipeline().decoders == ("sharp", "faithful")
    run.set_decoder(run.config.decoder_training, default="faithful")
    run.train_decoder()  # is done, and needs no network any more
    assert run.pipeline().decoders == ("faithful", "sharp")


def test_a_stage_that_is_done_later_keeps_the_sampling_settings(tmp_path, image_folder, runtime):
    config = RunConfig(
        images=ImageConfig(size=(16, 16), validation_fraction=0.3),
        tokenizer=TOY_TOKENIZER,
        tokenizer_training=TokenizerTrainingConfig(steps=1, batch_size=4),
        sampling=SamplingConfig(temperature=(0.8, 0.6)),
    )
    run = Run.create(tmp_path / "run", config, runtime=runtime)
    run.prepare_images(ImageFolder(image_folder))
    run.train_tokenizer(minutes=0.0)
    assert run.pipeline().config.sampling == config.sampling
    own = SamplingConfig(temperature=(0.9,))
    write_pipeline_config(replace(run.pipeline().config, sampling=own), run.directory)
    run.train_tokenizer()
    assert run.pipeline().config.sampling == own
