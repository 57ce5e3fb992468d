"""`--from`, `--freeze-tokenizer` and `--more-steps`."""

import json
import shutil

from vqvae2 import PRESETS
from vqvae2.models.checkpoint import read_model_file


def test_a_run_takes_networks_and_sizes_of_the_pipeline_that_it_starts_from(run_folder, shared_images, tmp_path, done):
    asked = ("run", shared_images, "--out", tmp_path / "new", "--from", run_folder, "--preset=cpu32", "--dry-run")
    config, plain = done(*asked), PRESETS["cpu32"].to_dict()
    old = json.loads((run_folder / "run.json").read_text())["config"]
    assert config["start_from"] == str(run_folder)
    assert all(config[name] == old[name] for name in ("tokenizer", "priors"))
    assert config["images"]["size"] == [16, 16]
    assert all(config[name] == plain[name] for name in ("tokenizer_training", "decoder_training"))


def test_a_run_with_a_frozen_tokenizer_is_a_pipeline_of_the_same_codes(run_folder, shared_images, tmp_path, done):
    asked = ["run", shared_images, "--out", tmp_path / "new", "--from", run_folder, "--freeze-tokenizer", "--minutes=0"]
    asked += [f"--prior-trainings.{level}.steps=2" for level in (0, 1)] + ["--num-samples=2"]
    results = done(*asked)
    assert set(results["trainings"]) == {"train prior, top", "train prior, bottom"}
    old, new = (read_model_file(f / "tokenizer" / "model.safetensors") for f in (run_folder, tmp_path / "new"))
    assert old.fingerprint == new.fingerprint
    assert done(*asked)["trainings"] == results["trainings"]  # all is done before
    done("sample", tmp_path / "new", "--out", tmp_path / "samples", "--num-images=1")


def test_trainings_that_have_ended_take_more_steps(run_folder, done, refused):
    before = done("train-prior", run_folder, "--level=0")["last_step"]
    assert done("train-prior", run_folder, "--level=0", "--more-steps=3")["last_step"] == before + 3
    assert done("train-prior", run_folder, "--level=0")["last_step"] == before + 3
    assert done("train-prior", run_folder, "--level=0", "--more-steps=2")["planned_steps"] == before + 5
    shutil.rmtree(run_folder / "prior-top" / "states")
    told = refused("train-prior", run_folder, "--level=0", "--more-steps=2", "--device=cpu")
    assert "has no training state to go on from; train it anew" in told


def test_what_cannot_be_started_from_is_told_in_one_line(run_folder, shared_images, tmp_path, toy, refused):
    out = tmp_path / "new"
    run = ("run", shared_images, "--out", out, "--from")
    assert "holds a tokenizer with another config (`strides.0` is 2, asked for 4)" in refused(
        *run, run_folder, "--tokenizer.strides", "4", "2"
    )
    assert "`tokenizer.in_channels` must equal `images.channels` (1), got 3" in refused(
        *run, run_folder, "--images.channels=1"
    )
    assert "neither a folder nor an id of the Hub" in refused(*run, "nowhere")
    assert "is not a pipeline: it has no config.json" in refused(*run, shared_images)
    assert "`freeze_tokenizer` needs a pipeline" in refused(
        "run", shared_images, "--out", out, *toy, "--freeze-tokenizer"
    )
    assert not out.exists()
