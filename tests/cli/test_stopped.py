"""A command that is asked to stop, or cannot write, leaves what it has whole, says so in a line, and goes on later."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from vqvae2.cli.main import main
from vqvae2.models.checkpoint import read_model_file

PARTS = ("tokenizer", "prior-top", "prior-bottom")


@pytest.fixture(scope="module")
def command(shared_images, toy):
    """The arguments of a run into a folder, long enough to be stopped."""

    def make(out) -> list[str]:
        steps = [argument for argument in toy if "steps" not in argument]
        steps += ["--tokenizer-training.steps=150", "--prior-trainings.0.steps=10", "--prior-trainings.1.steps=10"]
        return ["run", str(shared_images), "--out", str(out), *steps]

    return make


def start(command, **options) -> subprocess.Popen:
    """Run a command in a process of its own, on one thread as in this one, so that sums have the same bits."""
    command, pipes = (
        [sys.executable, "-m", "vqvae2", *command],
        {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE},
    )
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, **pipes, **options)


def fingerprints(run):
    return [read_model_file(run / part / "model.safetensors").fingerprint for part in PARTS]


def last_line(errors: str) -> str:
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith("vqvae2: ")][-1]


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main(command(folder)) == 0
    return fingerprints(folder)


def test_sigterm_saves_and_has_its_own_exit_code(command, tmp_path, uninterrupted):
    out = tmp_path / "run"
    process = start(command(out))
    while not (out / "tokenizer" / "log.jsonl").exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75
    assert "stopped as asked after step" in last_line(errors)
    assert list((out / "tokenizer" / "states").glob("*.pt"))  # though no minute has passed
    assert main(command(out)) == 0
    assert fingerprints(out) == uninterrupted


def test_sigterm_outside_of_a_training_stops_at_once(command, tmp_path):
    process = start(command(tmp_path / "run"))
    while not (tmp_path / "run" / "run.json").exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75
    assert "run the same command again" in last_line(errors)


def test_a_full_disk_stops_with_a_line_and_the_last_state_stays(command, tmp_path, uninterrupted):
    """No file may grow beyond a size here, which fails like a disk that is full: the states are the largest files."""
    out = tmp_path / "run"
    limit = 100_000
    process = start(command(out), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert os.strerror(27) in last_line(errors)  # EFBIG
    assert ".pt" in last_line(errors)
    assert not list(out.rglob(".*.pt.*"))
    assert main(command(out)) == 0
    assert fingerprints(out) == uninterrupted
