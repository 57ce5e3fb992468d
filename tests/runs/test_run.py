"""A run as one object."""

import pytest

from vqvae2.config import RunConfig
from vqvae2.errors import ConfigError
from vqvae2.runs.record import RunRecord
from vqvae2.runs.run import Run


def test_a_second_decoder_must_be_planned_before_it_is_trained(tmp_path, runtime):
    run = Run(RunRecord.begin(tmp_path, RunConfig()), runtime=runtime)
    with pytest.raises(ConfigError, match="`sharp_decoder` of the run must be True to train one, got False; call `set"):
        run.train_decoder()
