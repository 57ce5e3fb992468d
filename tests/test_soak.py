"""Killed at any moment, the command resumes as if nothing had happened; see `scripts/soak.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "soak.py"


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "kills"), [(1, 20), (2, 5)])
def test_killed_again_and_again_it_gives_the_same_bits(processes, kills):
    command = [sys.executable, SCRIPT, f"--processes={processes}", f"--kills={kills}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} kills" in done.stdout
