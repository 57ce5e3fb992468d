"""One command at a time is at work in a folder."""

import os
import subprocess
import sys

import pytest

from vqvae2.errors import OutputError
from vqvae2.system.folder_lock import hold_folder

HOLDER = """
import sys
from pathlib import Path
from vqvae2.system.folder_lock import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_told_who_is_at_work(holder, tmp_path):
    with (
        pytest.raises(OutputError, match=rf"run is in use by process {holder.pid} on .* since 2"),
        hold_folder(tmp_path / "run"),
    ):
        pass
    with hold_folder(tmp_path / "other"):
        pass


@pytest.mark.parametrize("end", ["killed", "done"])
def test_a_folder_is_free_once_its_process_has_ended(holder, tmp_path, end):
    if end == "killed":
        holder.kill()
    holder.communicate()
    with hold_folder(tmp_path / "run"):
        assert not (tmp_path / "run").exists()
    assert os.listdir(tmp_path) == []


def test_one_folder_has_one_lock_whatever_it_is_called(holder, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path / "run")
    for name in (".", "../link", "../run/"):
        with pytest.raises(OutputError, match="in use"), hold_folder(type(tmp_path)(name)):
            pass


def test_where_nothing_may_be_written_beside_it_a_folder_is_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with hold_folder(tmp_path / "run"), hold_folder(tmp_path / "run"):
        assert os.listdir(tmp_path) == []
