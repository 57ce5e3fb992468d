"""A run that is killed at any moment goes on, and ends like one that was not."""

import subprocess
import sys
import time

import pytest

from vqvae2.checkpoint import read_model_file

PARTS = ("tokenizer", "prior-top", "prior-bottom")


def start(image_folder, out, toy) -> subprocess.Popen:
    steps = [argument for argument in toy if "steps" not in argument]
    steps += ["--tokenizer-training.steps=60", "--tokenizer-training.checkpoint-seconds=0"]
    steps += [f"--prior-trainings.{level}.steps=30" for level in (0, 1)]
    steps += [f"--prior-trainings.{level}.checkpoint-seconds=0" for level in (0, 1)]
    command = [sys.executable, "-m", "vqvae2", "run", str(image_folder), "--out", str(out), *steps]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def fingerprints(run):
    return [read_model_file(run / part / "model.safetensors").fingerprint for part in PARTS]


@pytest.fixture
def uninterrupted(image_folder, tmp_path, toy):
    process = start(image_folder, tmp_path / "whole", toy)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return fingerprints(tmp_path / "whole")


def test_killed_in_every_stage_it_ends_the_same(image_folder, tmp_path, toy, uninterrupted):
    out = tmp_path / "parts"
    # Killed as soon as each of these is there: in the middle of the training that writes it, or right after it.
    for sign in ("tokenizer/states", "codes/codes.json", "prior-top/log.jsonl", "prior-bottom/log.jsonl"):
        process = start(image_folder, out, toy)
        while process.poll() is None and not (out / sign).exists():
            time.sleep(0.002)
        process.kill()
        process.communicate()
    process = start(image_folder, out, toy)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert fingerprints(out) == uninterrupted
