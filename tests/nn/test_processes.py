"""Several processes train one codebook."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

_SCRIPT = Path(__file__).with_name("one_of_several.py")


def train(world_size: int, family: str, folder: Path) -> list[dict]:
    """Train with so many processes; give what each saved."""
    folder.mkdir()
    outs = [folder / f"{rank}.pt" for rank in range(world_size)]
    processes = [
        subprocess.Popen(
            [sys.executable, _SCRIPT, str(rank), str(world_size), folder / "rendezvous", out, family],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [torch.load(out, weights_only=True) for out in outs]


@pytest.mark.parametrize("family", ["ema", "codebook-loss"])
def test_two_processes_learn_the_codebook_of_one_with_the_joined_batch(tmp_path, family):
    (alone,) = train(1, family, tmp_path / "one")
    first, second = train(2, family, tmp_path / "two")
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name
        torch.testing.assert_close(value, alone["model"][name], rtol=1e-5, atol=1e-7, msg=name)
    joined = (first["losses"] + second["losses"]) / 2
    torch.testing.assert_close(joined, alone["losses"], rtol=1e-5, atol=0)
