"""Whatever a training state holds, no code of it runs: it gives the state that was saved, or a `CheckpointError`."""

import contextlib
import os
import pickle
import zipfile

import pytest
import torch

from vqvae2.errors import CheckpointError
from vqvae2.training.states import load_training_state, save_training_state

STATE = {"step": 3, "weights": {"a": torch.arange(300.0), "b": torch.ones(2, 3)}, "rows": [{"loss": 0.5}], "rng": "x"}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_training_state(STATE, tmp_path / "state.pt")
    return tmp_path / "state.pt"


def load_or_refuse(path) -> bool:
    try:
        state = load_training_state(path)
    except CheckpointError:
        return False
    assert state.keys() == STATE.keys()
    assert state["rows"] == STATE["rows"]
    assert all(torch.equal(state["weights"][name], tensor) for name, tensor in STATE["weights"].items())
    return True


def test_changed_files_give_the_same_state_or_an_error(path, mutator, foreign_files):
    data = path.read_bytes()
    outcomes = set()
    for changed in (*(mutator.change_bytes(data) for _ in range(500)), *foreign_files):
        path.write_bytes(changed)
        outcomes.add(load_or_refuse(path))
    assert outcomes == {True, False}  # some bytes are only there to fill
    path.write_bytes(data)
    parts = unpack(path)
    name = next(name for name in parts if name.endswith("data.pkl"))
    for _ in range(300):
        pack(path, parts | {name: mutator.change_bytes(parts[name])})
        with contextlib.suppress(CheckpointError):
            load_training_state(path)


def unpack(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


class Calls:
    """What `pickle` writes as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


HOSTILE = [
    *(Calls(os.system, "touch hacked"), Calls(eval, "open('hacked', 'w')"), Calls(open, "hacked", "w")),
    Calls(torch.hub.load, "someone/else", "model"),
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda calls: calls.call[0].__name__)
@pytest.mark.parametrize("format_", ["zip", "old", "plain"])
def test_no_code_runs(path, hostile, format_):
    if format_ == "plain":
        path.write_bytes(pickle.dumps({"step": hostile}))
    else:
        torch.save({"step": hostile}, path, _use_new_zipfile_serialization=format_ == "zip")
    with pytest.raises(CheckpointError, match="is not a readable training state"):
        load_training_state(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["state.pt"]


def test_a_packed_state_is_not_unfolded(path, peak):
    parts = unpack(path)
    name = next(name for name in parts if name.endswith("/data/0"))
    pack(path, parts | {name: bytes(128 * 2**20)}, zipfile.ZIP_DEFLATED)
    with peak() as grown, pytest.raises(CheckpointError, match="is not a readable training state"):
        load_training_state(path)
    assert grown.mib < 32


def test_what_is_no_dictionary_is_refused(path):
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="must hold a training state, but holds a list"):
        load_training_state(path)
