"""The command as a user types it, at toy size."""

import json
import shutil
from collections.abc import Callable

import pytest
import torch

from vqvae2.cli.main import main

Call = Callable[..., tuple[int, str, str]]

_TOKENIZER = {
    "hidden-channels": 8,
    "residual-channels": 4,
    "residual-layers": 1,
    "quantizer.num-embeddings": 12,
    "quantizer.embedding-dim": 4,
}
_PRIOR = {"hidden-channels": 8, "num-layers": 2, "num-heads": 2, "conditioning-layers": 1}
_TOY = [
    *("--device=cpu", "--precision=float32", "--minutes=0", "--num-samples=4"),
    *("--images.size", "16", "16"),
    *("--tokenizer.strides", "2", "2"),
    *(f"--tokenizer.{name}={value}" for name, value in _TOKENIZER.items()),
    *("--tokenizer-training.steps=6", "--tokenizer-training.batch-size=8"),
    *(f"--priors.{level}.{name}={value}" for level in (0, 1) for name, value in _PRIOR.items()),
    *("--priors.0.feedforward-channels=8", "--priors.1.residual-channels=8"),  # a transformer over a PixelSNAIL
    *(f"--prior-trainings.{level}.steps=4" for level in (0, 1)),
    *(f"--prior-trainings.{level}.batch-size=8" for level in (0, 1)),
]


@pytest.fixture(scope="session")
def toy() -> list[str]:
    """Flags of `run` that make it take a second."""
    return list(_TOY)


@pytest.fixture
def call(capsys) -> Call:
    """Run the command; give exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")  # of which a module may make its own
def shared_run(shared_images, tmp_path_factory, toy):
    """A finished run, to read only."""
    torch.set_num_threads(1)  # fixtures of a session come before those of a test
    folder = tmp_path_factory.mktemp("shared") / "run"
    assert main(["run", str(shared_images), "--out", str(folder), *toy]) == 0
    return folder


@pytest.fixture
def run_folder(shared_run, tmp_path):
    """A copy of a finished run, to do with as one likes."""
    return shutil.copytree(shared_run, tmp_path / "run")


@pytest.fixture
def forget_prior(run_folder):
    """Take the prior of a level out of the copied run, as if it had not been trained."""

    def forget(level: str) -> None:
        shutil.rmtree(run_folder / f"prior-{level}")
        state = json.loads((run_folder / "run.json").read_text())
        del state["steps"][f"train prior, {level}"], state["seconds"][f"train prior, {level}"]
        (run_folder / "run.json").write_text(json.dumps(state))

    return forget


@pytest.fixture
def done(call):
    """Run a command that succeeds, and give its results."""

    def run(*arguments: object):
        device = [] if arguments[0] in ("info", "push", "export") else ["--device=cpu"]
        code, out, errors = call(*arguments, *device, "--json")
        assert code == 0, errors
        return json.loads(out)

    return run


@pytest.fixture
def refused(call):
    """Run a command that cannot do what is asked, and give the one line in which it says so."""

    def run(*arguments: object) -> str:
        code, out, errors = call(*arguments)
        lines = [line for line in errors.splitlines() if line.startswith("vqvae2: ")]
        assert (code, out, len(lines)) == (1, "", 1), errors
        assert "Traceback" not in errors
        return lines[0]

    return run
