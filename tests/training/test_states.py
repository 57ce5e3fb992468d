"""Training states: the last few, checked, and gone on from even if the newest is damaged."""

from dataclasses import replace

import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.config import TokenizerTrainingConfig
from vqvae2.errors import CheckpointError
from vqvae2.training.loop import fit
from vqvae2.training.states import TrainingStates
from vqvae2.training.tokenizer import TokenizerTask

TRAINING = TokenizerTrainingConfig(
    steps=12, batch_size=8, max_validations=3, checkpoint_seconds=0.0, horizontal_flips=True, keep_checkpoints=3
)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


DAMAGES = (cut, flip_a_bit, empty)


def interrupt(progress):
    if progress.done == 8:  # the states of 5, 6 and 7 have been written by then
        raise KeyboardInterrupt


@pytest.fixture
def interrupted(image_store, tmp_path, runtime):
    """The folder of a training that has three states."""
    with pytest.raises(KeyboardInterrupt):
        fit(task(image_store), TRAINING, tmp_path / "parts", runtime=runtime, on_progress=interrupt)
    return tmp_path / "parts"


def task(images):
    return TokenizerTask(TOY_TOKENIZER, images, TRAINING)


def states(directory):
    return sorted((directory / "states").iterdir())


def test_the_last_states_are_kept_and_no_more(interrupted):
    assert [path.name for path in states(interrupted)] == ["000000005.pt", "000000006.pt", "000000007.pt"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("count", [1, 2])
def test_damaged_states_are_passed_over_with_a_line_each(image_store, tmp_path, interrupted, runtime, damage, count):
    whole = task(image_store)
    fit(whole, TRAINING, tmp_path / "whole", runtime=runtime)
    for path in states(interrupted)[-count:]:
        damage(path)
    warnings, resumed = [], task(image_store)
    fit(resumed, TRAINING, interrupted, runtime=runtime, on_warning=warnings.append)
    assert len(warnings) == count
    assert all("is not a readable training state" in line and "the one before" in line for line in warnings)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_but_damaged_states_is_an_error(image_store, interrupted, runtime, damage):
    for path in states(interrupted):
        damage(path)
    before = {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
    message = r"000000005\.pt is not a readable training state; delete .*states to train this stage from the start"
    with pytest.raises(CheckpointError, match=message):
        fit(task(image_store), TRAINING, interrupted, runtime=runtime)
    assert {path: path.read_bytes() for path in before} == before


def test_what_a_killed_process_was_writing_is_removed(image_store, interrupted, runtime):
    leftovers = [
        interrupted / "states" / ".000000008.pt.123",
        interrupted / ".model.safetensors.123",
        interrupted / ".log.jsonl.123",
    ]
    others = [interrupted / ".notes.txt", interrupted / ".mine.123"]
    for path in (*leftovers, *others):
        path.write_text("half")
    fit(task(image_store), TRAINING, interrupted, runtime=runtime)
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in others)


def test_when_and_how_many_states_are_written_may_change_on_the_way(image_store, interrupted, runtime):
    other = replace(TRAINING, checkpoint_seconds=100.0, keep_checkpoints=1)
    fit(task(image_store), other, interrupted, runtime=runtime)
    assert [path.name for path in states(interrupted)] == ["000000012.pt"]


def test_a_state_is_not_read_as_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("ran",))

    states = TrainingStates(tmp_path)
    states.save({"model": Bomb()}, step=1)
    with pytest.raises(CheckpointError, match="is not a readable training state"):
        states.load()
