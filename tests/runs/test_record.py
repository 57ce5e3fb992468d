from dataclasses import replace

import pytest

from vqvae2 import RunConfig
from vqvae2.config import DecoderTrainingConfig
from vqvae2.errors import OutputError
from vqvae2.runs.record import RunRecord


def test_a_run_that_is_begun_again_may_add_a_second_decoder(tmp_path):
    plain = RunConfig()
    sharp = replace(
        plain, sharp_decoder=True, default_decoder="faithful", decoder_training=DecoderTrainingConfig(steps=3)
    )
    RunRecord.begin(tmp_path, plain)
    record = RunRecord.begin(tmp_path, sharp)
    assert record.config == sharp
    record.save()
    assert RunRecord.begin(tmp_path, plain).config == sharp


def test_what_a_run_without_one_says_of_it_is_kept_for_later(tmp_path):
    RunRecord.begin(tmp_path, RunConfig())
    later = RunConfig(default_decoder="faithful", decoder_training=DecoderTrainingConfig(steps=3))
    assert RunRecord.begin(tmp_path, later).config == later


@pytest.fixture
def begun(tmp_path):
    """A run whose second decoder is being trained, through the network that "auto" stood for."""
    training = DecoderTrainingConfig(steps=3, loss_network="none")
    record = RunRecord.begin(tmp_path, RunConfig(sharp_decoder=True, decoder_training=training))
    record.steps["train decoder"] = 3
    record.seconds["train decoder"] = 1.0
    record.save()
    (tmp_path / "sharp-decoder").mkdir()
    return record


def test_another_training_of_a_decoder_is_refused_once_it_has_begun(begun, tmp_path):
    before = (tmp_path / "run.json").read_bytes()
    other = replace(begun.config, decoder_training=DecoderTrainingConfig(steps=3, loss_network="lite0"))
    with pytest.raises(OutputError, match=r"`loss_network` is 'none', asked for 'lite0'.*; .* or delete the folder to"):
        RunRecord.begin(tmp_path, other)
    assert (tmp_path / "run.json").read_bytes() == before


def test_the_default_and_how_often_it_is_saved_may_change_then(begun, tmp_path):
    training = DecoderTrainingConfig(steps=3, loss_network="auto", checkpoint_seconds=5.0)
    config = replace(begun.config, default_decoder="faithful", decoder_training=training)
    record = RunRecord.begin(tmp_path, config)
    assert record.config == replace(config, decoder_training=replace(training, loss_network="none"))
    assert (record.steps, record.seconds) == (begun.steps, begun.seconds)


def test_a_decoder_whose_folder_is_deleted_is_trained_anew_by_any_config(begun, tmp_path):
    (tmp_path / "sharp-decoder").rmdir()
    other = replace(begun.config, decoder_training=DecoderTrainingConfig(steps=9))
    record = RunRecord.begin(tmp_path, other)
    assert (record.config, record.steps, record.seconds) == (other, {}, {})


def test_a_run_with_another_config_is_refused(tmp_path):
    RunRecord.begin(tmp_path, RunConfig())
    with pytest.raises(OutputError, match="`num_samples` is 64, asked for 1"):
        RunRecord.begin(tmp_path, RunConfig(num_samples=1, sharp_decoder=True))
