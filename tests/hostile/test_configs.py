"""Whatever is read as a config, it gives a config that can be written and read again, or a `ConfigError`."""

import itertools
import json
import math
from contextlib import suppress

import pytest

from vqvae2.config import (
    ClassifierConfig,
    EvaluationConfig,
    ImageConfig,
    PriorConfig,
    PriorTrainingConfig,
    RunConfig,
    SamplingConfig,
    VQVAE2Config,
)
from vqvae2.config.presets import PRESETS
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.pipeline.config import PipelineConfig, read_pipeline_config, write_pipeline_config
from vqvae2.runs.record import RunRecord
from vqvae2.system.files import MAX_JSON_BYTES

CONFIGS = [
    *(VQVAE2Config(), PriorConfig(), ClassifierConfig(classes=("a", "b")), ImageConfig(), PriorTrainingConfig()),
    *(SamplingConfig(), EvaluationConfig(), PRESETS["cpu64"]),
    PipelineConfig(image_size=(16, 24), classes=("cat", "dog"), class_counts=(3, 1), has_priors=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_changed_values_give_a_config_or_an_error(config, mutator):
    kind, values = type(config), config.to_dict()
    outcomes = set()
    for _ in range(300):
        try:
            read = kind.from_dict(mutator.change_values(values))
        except ConfigError:
            outcomes.add("refused")
            continue
        outcomes.add("read")
        assert kind.from_dict(json.loads(json.dumps(read.to_dict()))) == read
    assert outcomes == {"refused", "read"}


@pytest.mark.parametrize(
    "values",
    [
        *(None, 3, "text", [], [[]], {1: 2}, {"in_channels": {1, 2}}, {"in_channels": b"3"}, {"in_channels": 10**5000}),
        *({"preview_weight": math.nan}, {"preview_weight": math.inf}, {"preview_weight": "nan"}, {"\ud800": 1}),
        *({"in_channels": 3.0}, {"strides": "44"}),
    ],
    ids=itertools.count(),  # one of them cannot even be printed
)
def test_what_is_no_config_is_refused(values):
    with pytest.raises(ConfigError):
        VQVAE2Config.from_dict(values)


def test_towers_and_circles_are_refused():
    tower = circle = {}
    for _ in range(100_000):
        tower = {"quantizer": tower}
    circle["quantizer"] = circle
    for values in (tower, {"quantizer": circle}):
        with pytest.raises(ConfigError, match="VQVAE2Config must be a dictionary"):
            VQVAE2Config.from_dict(values)
    while tower:  # or else Python's own clean-up of it would recur as deeply
        tower = tower.pop("quantizer") if "quantizer" in tower and tower is not circle else None


@pytest.mark.parametrize("pattern", ["a{99999999999}", "(" * 100_000 + ")" * 100_000, "["], ids=len)
def test_a_pattern_that_cannot_be_compiled_is_refused(pattern):
    with pytest.raises(ConfigError, match="`group_pattern` must be a regular expression") as caught:
        ImageConfig(group_pattern=pattern)
    assert len(str(caught.value)) < 500


@pytest.fixture
def written(tmp_path):
    write_pipeline_config(CONFIGS[-1], tmp_path)
    return tmp_path / "config.json"


@pytest.fixture
def read_changed(mutator, foreign_files):
    """Change a JSON file again and again; give what is read of it, where it is not refused."""

    def read_all(path, read):
        data = path.read_bytes()
        hostile = [mutator.change_json(json.loads(data)) for _ in range(200)]
        hostile += [mutator.change_bytes(data) for _ in range(200)]
        for changed in (*hostile, *foreign_files, data):
            path.write_bytes(changed)
            with suppress(CheckpointError):
                yield read(path.parent)

    return read_all


def test_changed_pipeline_configs_give_a_config_or_an_error(written, read_changed):
    for read in read_changed(written, read_pipeline_config):
        assert min(read.image_size) > 0
        assert len(read.class_counts) == len(read.classes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": [0, 8]}, "`image_size.0` .*, got 0"),
        ({"image_size": [10**6, 10**6]}, "`image_size` .* 89478485 pixels in all, got 1000000 1000000"),
        ({"bit_depth": 12}, "`bit_depth` must be 8 or 16, got 12"),
        ({"class_counts": [1]}, "`class_counts` .* 2 classes, got 1 "),
        ({"class_counts": [1, -1]}, "`class_counts.1` .*, got -1"),
        ({"class_counts": [0, 0]}, "`class_counts` must be above 0"),
    ],
)
def test_a_pipeline_config_that_could_not_be_used_is_refused(written, changes, message):
    written.write_text(json.dumps(json.loads(written.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        read_pipeline_config(written.parent)


def test_reading_a_config_takes_a_bounded_amount_of_memory(written, peak):
    with written.open("wb") as file:
        file.truncate(2**40)  # which takes no room on the disk
    with peak() as grown, pytest.raises(CheckpointError, match="is not a readable config"):
        read_pipeline_config(written.parent)
    assert grown.mib < 32
    written.write_bytes(b"[" + b"[]," * ((MAX_JSON_BYTES - 10) // 3) + b"0]")  # a list for every three bytes
    with peak() as grown, pytest.raises(CheckpointError, match=r"config\.json must be the config of"):
        read_pipeline_config(written.parent)
    assert grown.mib < 96 * MAX_JSON_BYTES / 2**20


def test_changed_run_records_give_a_record_or_an_error(tmp_path, read_changed):
    record = RunRecord(tmp_path, RunConfig(), {"train tokenizer": 30}, {"train tokenizer": 1.5})
    record.save()
    for read in read_changed(tmp_path / "run.json", RunRecord.load):
        read.save()
        assert RunRecord.load(tmp_path) == read
        assert not any(part in ("..", "") for entry in read.entries for part in entry.split("/"))
    assert read == record  # the last one was not changed
