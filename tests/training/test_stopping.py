"""Patience: a training ends by itself when validation gets no better, and stays ended."""

import json
from dataclasses import replace

import pytest

from toy_models import TOY_TOKENIZER
from vqvae2.config import TokenizerTrainingConfig
from vqvae2.errors import OutputError
from vqvae2.models.checkpoint import read_model_file
from vqvae2.training.loop import fit
from vqvae2.training.states import TrainingStates
from vqvae2.training.tokenizer import TokenizerTask

# More images a step than there are: a validation follows every step.
TRAINING = TokenizerTrainingConfig(steps=10, batch_size=40, max_validations=100, patience=3, checkpoint_seconds=0.0)


class ScoredTask(TokenizerTask):
    """A training whose validations give these scores, in turn."""

    def __init__(self, images, scores):
        super().__init__(TOY_TOKENIZER, images, TRAINING)
        self._scores = iter(scores)

    def validate(self, model, runtime):
        return {"score": next(self._scores)}


def train(images, directory, runtime, scores, *, on_progress=None, **changes):
    task = ScoredTask(images, scores)
    return fit(task, replace(TRAINING, **changes), directory, runtime=runtime, on_progress=on_progress)


@pytest.mark.parametrize(
    ("patience", "scores", "best_step", "last_step"),
    [
        (1, [5, 4, 4], 2, 3),  # as good is not better
        (3, [5, 4, 6, 6, 6], 2, 5),
        (3, [5, 6, 6, 4, 6, 6, 6], 4, 7),  # a better one begins the count anew
        (3, [1, 2, 3, 4], 1, 4),
        (3, [9, 9, 8, 8, 8, 7, 7, 7, 6, 6], 9, 10),
        (3, [9, 8, 7, 6, 5, 4, 3, 4, 4, 4], 7, 10),  # out of patience at the last step
        (0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1, 10),  # never
    ],
)
def test_a_training_stops_at_the_validation_that_ends_its_patience(
    image_store, tmp_path, runtime, patience, scores, best_step, last_step
):
    result = train(image_store, tmp_path / "run", runtime, scores, patience=patience)
    assert (result.best_step, result.last_step, result.planned_steps) == (best_step, last_step, 10)
    assert result.stopped_early == (last_step < 10)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, last_step + 1))
    assert rows[-1]["validations_without_better"] == last_step - best_step


def test_a_stopped_training_falls_back_to_its_best_model(image_store, tmp_path, runtime):
    train(image_store, tmp_path / "run", runtime, [5, 4, 6, 6, 6])
    assert read_model_file(tmp_path / "run" / "model.safetensors").metadata["step"] == 2
    assert read_model_file(tmp_path / "run" / "last.safetensors").metadata["step"] == 5


def test_a_stopped_training_is_not_gone_on_with(image_store, tmp_path, runtime):
    first = train(image_store, tmp_path / "run", runtime, [5, 4, 6, 6, 6])
    files = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.[ps]*t*")}
    calls = []
    again = train(image_store, tmp_path / "run", runtime, [], on_progress=calls.append)
    assert not calls
    assert again.stopped_early
    assert (again.best_step, again.last_step) == (first.best_step, first.last_step)
    assert {path: path.read_bytes() for path in files} == files


@pytest.mark.parametrize("step", [1, 3, 4])
def test_an_interrupted_training_stops_where_the_uninterrupted_one_does(image_store, tmp_path, runtime, step):
    def interrupt(progress):
        if progress.done == step + 1:  # the checkpoint of `step` has been written by then
            raise KeyboardInterrupt

    scores = [5, 4, 6, 6, 6]
    whole = train(image_store, tmp_path / "whole", runtime, scores)
    with pytest.raises(KeyboardInterrupt):
        train(image_store, tmp_path / "parts", runtime, scores, on_progress=interrupt)
    parts = train(image_store, tmp_path / "parts", runtime, scores[step:])
    assert (parts.best_step, parts.last_step) == (whole.best_step, whole.last_step)
    for name in ("model", "last"):
        fingerprints = [
            read_model_file(tmp_path / way / f"{name}.safetensors").fingerprint for way in ("whole", "parts")
        ]
        assert fingerprints[0] == fingerprints[1]


def test_a_longer_patience_is_another_training(image_store, tmp_path, runtime):
    train(image_store, tmp_path / "run", runtime, [5, 4, 6, 6, 6])
    with pytest.raises(OutputError, match="`patience` is 3, asked for 4"):
        train(image_store, tmp_path / "run", runtime, [], patience=4)
    assert TrainingStates(tmp_path / "run").load()["step"] == 5
