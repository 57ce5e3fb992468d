"""A training resumes from its last state that is whole, and ends as if nothing had happened."""

import pytest
import torch

from vqvae2.errors import CheckpointError, OutputError
from vqvae2.models.checkpoint import read_model_file
from vqvae2.training.states import load_training_state, save_training_state

DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "flipped bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "empty": lambda data: b"",
}


def states(directory):
    return sorted((directory / "states").iterdir())


def assert_same_weights(model, expected):
    got = model.state_dict()
    assert all(torch.equal(got[name], value) for name, value in expected.state_dict().items())


@pytest.mark.parametrize("kind", ["tokenizer", "prior", "classifier", "decoder"])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(train, train_until, read_log, tmp_path, kind):
    whole, _ = train("whole", kind)
    for step in (1, 5, 11):
        folder = f"parts-{step}"
        train_until(folder, step, kind)
        torch.rand(7)  # whatever happens in between
        resumed, _ = train(folder, kind)
        assert_same_weights(resumed.model, whole.model)
        for name in ("model", "last"):
            paths = (tmp_path / way / f"{name}.safetensors" for way in ("whole", folder))
            assert len({read_model_file(path).fingerprint for path in paths}) == 1
        assert [row["step"] for row in read_log(folder)] == list(range(1, 13))  # no line twice


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_states_are_skipped_with_a_line_each(train, train_until, tmp_path, damage):
    whole, _ = train("whole")
    train_until("parts", 7, keep_checkpoints=3)
    assert [path.name for path in states(tmp_path / "parts")] == [f"00000000{step}.pt" for step in (5, 6, 7)]
    for path in states(tmp_path / "parts")[-2:]:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    warnings = []
    resumed, _ = train("parts", keep_checkpoints=3, on_warning=warnings.append)
    assert [path in line for path, line in zip(("000000007", "000000006"), warnings, strict=True)] == [True, True]
    assert_same_weights(resumed.model, whole.model)
    for path in states(tmp_path / "parts"):
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    before = {path: path.read_bytes() for path in (tmp_path / "parts").rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"000000010\.pt .* delete .*states"):
        train("parts", keep_checkpoints=3)
    assert {path: path.read_bytes() for path in before} == before


def test_a_training_of_attention_in_raster_order_is_refused(train, train_until, tmp_path):
    train_until("run", 2, "prior")
    for path in states(tmp_path / "run"):
        state = load_training_state(path)
        del state["model_version"]  # as in the version before fronts
        save_training_state(state, path)
    with pytest.raises(CheckpointError, match="attention saw codes in raster order"):
        train("run", "prior")


def test_a_training_resumes_that_began_before_a_field_of_its_config_was_there(train, train_until, tmp_path):
    train_until("run", 2, steps=4)
    for path in states(tmp_path / "run"):
        state = load_training_state(path)
        del state["training_config"]["patience"]
        save_training_state(state, path)
    with pytest.raises(OutputError, match="`patience` is 0, asked for 4"):
        train("run", steps=4, patience=4)
    assert train("run", steps=4)[1].last_step == 4


def test_what_a_killed_process_was_writing_is_removed(train, train_until, tmp_path):
    train_until("run", 2, steps=4)
    folder = tmp_path / "run"
    leftovers = [folder / name for name in ("states/.000000003.pt.123", ".model.safetensors.123", ".log.jsonl.123")]
    others = [folder / ".notes.txt", folder / ".mine.123"]
    for path in (*leftovers, *others):
        path.write_text("half")
    # When and how many states are written may change on the way.
    train("run", steps=4, checkpoint_seconds=100.0, keep_checkpoints=1)
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in others)
    assert [path.name for path in states(folder)] == ["000000004.pt"]


def test_another_config_in_the_same_folder_is_refused(train, train_until):
    train_until("run", 1)
    for changes, message in (
        ({"learning_rate": 0.5}, r"`learning_rate` is 0\.001, asked for 0\.5"),
        ({"patience": 4}, "`patience` is 0, asked for 4"),
        ({"changes": {"hidden_channels": 16}}, "`hidden_channels` is 8, asked for 16"),
    ):
        with pytest.raises(OutputError, match=message):
            train("run", **changes)


def test_a_finished_training_is_not_repeated(train, tmp_path):
    _, first = train("run", steps=4)
    files = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.[ps]*t*")}
    calls = []
    _, again = train("run", steps=4, on_progress=calls.append)
    assert not calls
    assert (again.best_step, again.validation) == (first.best_step, first.validation)
    assert {path: path.read_bytes() for path in files} == files
