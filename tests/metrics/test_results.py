"""Results are read back as they were written, and nothing else is."""

import dataclasses
import json
import math

import pytest

import toy_results as toy
from vqvae2.errors import CheckpointError
from vqvae2.metrics.results import Fingerprints, Results


@pytest.mark.parametrize("results", [toy.bare(), toy.of_run(), toy.of_evaluation(Lite0=1.0, Classifier=2.0)])
def test_results_are_read_back(results, tmp_path):
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    assert not {"quality", "dial", "pictures", "left_out"} & set(toy.bare().to_dict())  # what was not measured
    with pytest.raises(dataclasses.FrozenInstanceError):
        results.seconds = {}


def test_numbers_may_be_infinite_or_none(tmp_path):
    found = toy.reconstruction()
    exact = dataclasses.replace(found, validation=dataclasses.replace(found.validation, psnr_db=math.inf, ssim=None))
    score = toy.quality("Lite0")
    few = dataclasses.replace(score, sets=(dataclasses.replace(score.sets[0], recall=math.nan),))
    toy.bare(reconstruction=exact, quality={"Lite0": few}).write(tmp_path / "results.json")
    read = Results.read(tmp_path / "results.json")
    assert read.reconstruction == exact
    assert math.isnan(read.quality["Lite0"].sets[0].recall)


def test_results_from_before_distances_to_held_out_images_are_read(tmp_path):
    results = toy.of_evaluation(Lite0=1.0)
    values = results.to_dict()
    for row in values["quality"]["Lite0"]["sets"]:
        del row["frechet_distance_to_held_out"]
    (tmp_path / "results.json").write_text(json.dumps(values))
    rows = Results.read(tmp_path / "results.json").quality["Lite0"].sets
    assert rows == tuple(
        dataclasses.replace(row, frechet_distance_to_held_out=None) for row in results.quality["Lite0"].sets
    )


def test_results_name_the_decoder_of_their_images_and_older_ones_had_one_only(tmp_path):
    sharp = Fingerprints("0" * 32, (), sharp_decoder="2" * 32)
    assert toy.bare(pipeline=sharp, decoder="sharp").to_dict()["decoder"] == "sharp"
    values = toy.bare().to_dict()
    assert values["decoder"] == "faithful"
    del values["decoder"], values["pipeline"]["sharp_decoder"]
    (tmp_path / "results.json").write_text(json.dumps(values))
    assert Results.read(tmp_path / "results.json") == toy.bare()
    with pytest.raises(ValueError, match=r"`decoder` must be .*'2222.*, got 'faithful'"):
        toy.bare(pipeline=sharp)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda values: values | {"version": 2}, "version 1.* 2"),
        (lambda values: values | {"magic": "vqvae2.run"}, r"vqvae2\.results.*'vqvae2\.run'"),
        (lambda values: values | {"more": 1}, "`more`"),
        (lambda values: values | {"decoder": "sharp"}, "`decoder` must be"),
        (lambda values: values | {"seconds": {"measure": "long"}}, "`seconds.measure`"),
        (lambda values: values | {"quality": {"Lite0": {"sets": []}}}, "`quality.Lite0.num_features`"),
        (lambda values: {name: value for name, value in values.items() if name != "machine"}, "`machine`"),
        (lambda values: [], "got None"),
    ],
)
def test_what_is_no_results_is_refused_with_the_field_and_the_remedy(damage, named, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(damage(toy.of_run().to_dict())))
    with pytest.raises(CheckpointError, match=rf"results\.json .*{named}.*delete it, and run"):
        Results.read(path)


def test_what_is_no_json_is_refused_but_a_missing_file_is_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        Results.read(tmp_path / "results.json")
    for text in ("", "{", "nonsense", "[" * 10_000):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"results\.json is damaged"):
            Results.read(tmp_path / "results.json")


def test_merging_keeps_the_newer_number_and_adds_what_it_lacks():
    newer = toy.bare(likelihood=toy.likelihood(1.0), quality={"Lite0": toy.quality("Lite0", 1.0)}, seconds={"a": 1.0})
    older = toy.of_evaluation(Lite0=0.0, Classifier=0.0)
    merged = newer.merged_with(older)
    assert (merged.likelihood, merged.quality["Lite0"]) == (newer.likelihood, newer.quality["Lite0"])
    assert merged.quality["Classifier"] == older.quality["Classifier"]
    assert merged.accuracy == older.accuracy
    assert merged.seconds == older.seconds | {"a": 1.0}
    assert merged.num_images == newer.num_images
