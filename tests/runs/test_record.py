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


def test_a_run_with_another_config_is_refused(tmp_path):
    RunRecord.begin(tmp_path, RunConfig())
    with pytest.raises(OutputError, match="`num_samples` is 64, asked for 1"):
        RunRecord.begin(tmp_path, RunConfig(num_samples=1, sharp_decoder=True))
