"""`tune-sampling` end to end and at toy size, and the verbs that draw with what it has chosen."""

import json
import shutil
from dataclasses import replace

import pytest

from vqvae2.cli.main import main
from vqvae2.config import SamplingConfig
from vqvae2.pipeline.config import read_pipeline_config, write_pipeline_config
from vqvae2.pipeline.pipeline import Pipeline

GRID = ("--temperatures", "1", "0.2", "--top-p-values", "1", "--num-images=8")


@pytest.fixture(scope="module")
def shared_run(shared_images, tmp_path_factory, toy):
    """A finished run with enough held-out images to compare, and a classifier."""
    run = str(tmp_path_factory.mktemp("shared") / "run")
    assert main(["run", str(shared_images), "--out", run, *toy, "--images.validation-fraction=0.4"]) == 0
    training = ("--training.steps=2", "--training.batch-size=8", "--network.hidden-channels=4")
    assert main(["train-classifier", run, "--out", f"{run}/classifier", *training]) == 0
    return run


@pytest.fixture
def tune(run_folder, done):
    def run(folder=run_folder, *flags):
        return done("tune-sampling", folder, "--features", run_folder / "classifier", *GRID, *flags)

    return run


def test_a_run_draws_with_the_settings_that_were_chosen(run_folder, tune, done):
    before = read_pipeline_config(run_folder)
    results = tune()
    assert [row["settings"] for row in results["candidates"][:2]] == ["temperature 1", "temperature 0.2 / 1"]
    assert {"frechet_distance", "precision", "recall"} <= results["candidates"][0].keys()
    assert results["table"] == str(run_folder / "tuning" / "results.json")
    after = read_pipeline_config(run_folder)
    assert after.sampling.in_words == results["chosen"] == done("info", run_folder)["sampling"]
    assert after.to_dict() | {"sampling": 0} == before.to_dict() | {"sampling": 0}
    assert tune() == results


@pytest.mark.parametrize(
    ("flags", "temperature", "top_k"),
    [([], [0.5, 0.7], [3]), (["--temperature=1"], [1.0], [3]), (["--top-k=0"], [0.5, 0.7], [0])],
)
def test_flags_replace_single_settings_of_the_pipeline(
    run_folder, image_folder, done, tmp_path, flags, temperature, top_k
):
    own = SamplingConfig(temperature=(0.5, 0.7), top_k=(3,), guidance_scale=2.0)
    write_pipeline_config(replace(read_pipeline_config(run_folder), sampling=own), run_folder)
    done("sample", run_folder, "--out", tmp_path / "s", "--num-images=1", *flags)
    complete = ("complete", image_folder, "--pipeline", run_folder, "--out", tmp_path / "c")
    done(*complete, "--limit=1", "--variants=1", *flags)
    sampled, completed = (
        json.loads((tmp_path / name).read_text()) for name in ("s/samples.json", "c/completions.json")
    )
    for settings, guidance_scale in ((sampled["request"]["sampling"], 2.0), (completed["sampling"], 1.0)):
        wanted = {"temperature": temperature, "top_k": top_k, "top_p": [1.0], "guidance_scale": guidance_scale}
        assert settings == wanted
    of_evaluation = [flag.replace("--", "--sampling.") for flag in flags]
    found = done("evaluate", run_folder, "--dry-run", *of_evaluation)["sampling"]
    assert (found["temperature"], found["top_k"], found["guidance_scale"]) == (temperature, top_k, 2.0)


def test_a_saved_pipeline_is_tuned_on_images_that_are_given(run_folder, image_folder, tune, refused, tmp_path):
    Pipeline.from_pretrained(run_folder).save_pretrained(tmp_path / "p")
    for side in ("train", "val"):
        shutil.copytree(image_folder, tmp_path / "data" / side)
    by = ("tune-sampling", tmp_path / "p", "--features", run_folder / "classifier", "--device=cpu")
    assert "`data` must be a folder of real images" in refused(*by)
    results = tune(tmp_path / "p", "--data", tmp_path / "data")
    assert Pipeline.from_pretrained(tmp_path / "p").config.sampling.in_words == results["chosen"]
    assert "`num_images` is 8, asked for 9" in refused(*by, "--data", tmp_path / "data", "--num-images=9")


def test_a_dry_run_and_what_is_refused_change_nothing(run_folder, done, refused):
    before = (run_folder / "config.json").read_bytes()
    assert done("tune-sampling", run_folder, "--dry-run", "--temperatures", "0.9")["temperatures"] == [0.9]
    assert "`network` must be lite0" in refused("tune-sampling", run_folder, "--features=magic", "--device=cpu")
    shutil.rmtree(run_folder / "prior-top")
    assert refused("tune-sampling", run_folder, "--features", run_folder / "classifier", "--device=cpu")
    assert (run_folder / "config.json").read_bytes() == before
    assert not (run_folder / "tuning").exists()
