"""The training loop: it learns, keeps the best model, logs what happens, and stops when it should."""

import math
import shutil
from dataclasses import replace

import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.config import CodebookLossConfig, EMAConfig, FSQConfig, TokenizerTrainingConfig
from vqvae2.errors import ConfigError, StopRequested, TrainingError
from vqvae2.models.checkpoint import load_model, read_model_file
from vqvae2.system.stopping import StopRequest
from vqvae2.training.loop import fit
from vqvae2.training.runtime import choose_runtime
from vqvae2.training.schedule import validation_steps
from vqvae2.training.states import TrainingStates
from vqvae2.training.tokenizer import TokenizerTask


def metadata(path):
    return read_model_file(path).metadata


@pytest.mark.parametrize(
    "quantizer",
    [
        TOY_TOKENIZER.quantizer,
        EMAConfig(num_embeddings=12, embedding_dim=4, gradient="rotation"),
        CodebookLossConfig(num_embeddings=12, embedding_dim=4),
        FSQConfig(num_values=(3, 4)),
    ],
    ids=lambda config: f"{config.family} {getattr(config, 'gradient', '')}",
)
def test_a_tokenizer_learns_with_every_quantizer(make_task, tmp_path, runtime, quantizer):
    changes = {"steps": 100, "learning_rate": 5e-3, "max_validations": 1, "checkpoint_seconds": 1e6}
    task, training = make_task(changes={"quantizer": quantizer}, ema_decay=0.9, **changes)
    with torch.inference_mode():
        before = task.validate(task.model, runtime)["mse"]
    assert fit(task, training, tmp_path, runtime=runtime).validation["mse"] < 0.6 * before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler, about torch
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_a_compiled_step_is_the_step(make_task, tmp_path):
    ends = []
    for compiled in (False, True):
        task, training = make_task(steps=2, max_validations=1)
        fit(task, training, tmp_path / str(compiled), runtime=choose_runtime("cpu", "float32", compile=compiled))
        ends.append(task.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_training_leaves_its_best_and_last_model_and_a_log(image_store, train, read_log, tmp_path):
    _, result = train("run", max_validations=100)
    rows = read_log("run")
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(0.0 < row["data_seconds"] < row["step_seconds"] for row in rows)
    epochs = {row["step"]: row for row in rows if "usage_0" in row}
    training = TokenizerTrainingConfig(steps=12, batch_size=8, max_validations=100)
    assert epochs.keys() == validation_steps(training, num_items=len(image_store.indices("train")))
    for row in epochs.values():
        for level in (0, 1):
            assert row[f"usage_{level}"] * 12 + row[f"dead_codes_{level}"] == pytest.approx(12)
            assert 1.0 <= row[f"perplexity_{level}"] <= 12.0
            assert row[f"validation_dead_codes_{level}"] >= 0
    assert result.best_step == min(epochs, key=lambda step: epochs[step]["validation_mse"])
    assert metadata(tmp_path / "run" / "model.safetensors")["step"] == result.best_step
    assert metadata(tmp_path / "run" / "last.safetensors")["step"] == 12


def test_the_saved_model_is_the_average_of_the_weights(train, tmp_path):
    task, _ = train("run", max_validations=1, ema_decay=0.9)
    saved, _ = load_model(tmp_path / "run" / "model.safetensors", kind="tokenizer")
    state = TrainingStates(tmp_path / "run").load()
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(value, state["averaged"][name])
    assert not torch.equal(saved.decoder[0].weight, task.model.decoder[0].weight)


class DivergingTask(TokenizerTask):
    """Its seventh loss is not a number, and so are its weights after that step."""

    num_steps = 0

    def step(self, model, batch):
        self.num_steps += 1
        output = super().step(model, batch)
        return output._replace(loss=output.loss * (math.nan if self.num_steps == 7 else 1.0))


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_good(image_store, make_task, tmp_path, runtime):
    _, training = make_task()
    files = r"((squares|stripes)/\d+\.png, ){7}(squares|stripes)/\d+\.png"
    with pytest.raises(TrainingError, match=rf"loss became nan at step 7, on {files}; .*`learning_rate`"):
        fit(DivergingTask(TOY_TOKENIZER, image_store, training), training, tmp_path, runtime=runtime)
    loaded, _ = load_model(tmp_path / "model.safetensors", kind="tokenizer")
    assert all(parameter.isfinite().all() for parameter in loaded.parameters())
    state = TrainingStates(tmp_path).load()
    assert state["step"] == 6
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.parametrize("step", [1, 3, 4])
def test_asked_to_stop_it_saves_the_step_it_is_at_even_the_last(make_task, tmp_path, step):
    stop = StopRequest()

    def ask(progress):
        if progress.done == step:
            stop.make()

    task, training = make_task(steps=4, checkpoint_seconds=1e6)
    with pytest.raises(StopRequested, match=f"after step {step} of 4"):
        fit(task, training, tmp_path, runtime=choose_runtime("cpu", "float32", stop=stop), on_progress=ask)
    assert TrainingStates(tmp_path).load()["step"] == step


def test_images_of_other_channels_are_refused(make_task):
    with pytest.raises(ConfigError, match=r"`in_channels` .*\(3\), got 1"):
        make_task(changes={"in_channels": 1})


class ScoredTask(TokenizerTask):
    """A training whose validations give these scores, in turn."""

    def __init__(self, images, training, scores):
        super().__init__(TOY_TOKENIZER, images, training)
        self._scores = iter(scores)

    def validate(self, model, runtime):
        return {"score": next(self._scores)}


@pytest.fixture
def train_by_scores(image_store, tmp_path, runtime):
    # More images a step than there are: a validation follows every step.
    training = TokenizerTrainingConfig(
        steps=10, batch_size=40, max_validations=100, patience=3, checkpoint_seconds=0.0, keep_checkpoints=20
    )

    def run(folder, scores, patience=3):
        changed = replace(training, patience=patience)
        return fit(ScoredTask(image_store, changed, scores), changed, tmp_path / folder, runtime=runtime)

    return run


@pytest.mark.parametrize(
    ("patience", "scores", "best_step", "last_step"),
    [
        (1, [5, 4, 4], 2, 3),  # as good is not better
        (3, [5, 4, 6, 6, 6], 2, 5),
        (3, [5, 6, 6, 4, 6, 6, 6], 4, 7),  # a better one begins the count anew
        (3, [9, 9, 8, 8, 8, 7, 7, 7, 6, 6], 9, 10),
        (3, [9, 8, 7, 6, 5, 4, 3, 4, 4, 4], 7, 10),  # out of patience at the last step
        (0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1, 10),  # never
    ],
)
def test_a_training_stops_at_the_validation_that_ends_its_patience(
    train_by_scores, read_log, tmp_path, patience, scores, best_step, last_step
):
    result = train_by_scores("run", scores, patience)
    assert (result.best_step, result.last_step, result.planned_steps) == (best_step, last_step, 10)
    assert result.stopped_early == (last_step < 10)
    assert metadata(tmp_path / "run" / "model.safetensors")["step"] == best_step
    assert metadata(tmp_path / "run" / "last.safetensors")["step"] == last_step
    rows = read_log("run")
    assert [row["step"] for row in rows] == list(range(1, last_step + 1))
    assert rows[-1]["validations_without_better"] == last_step - best_step


def test_a_resumed_training_has_the_patience_that_was_left(train_by_scores, tmp_path):
    scores = [5, 4, 6, 6, 6]
    whole = train_by_scores("run", scores)
    assert train_by_scores("run", []) == replace(whole, seconds=pytest.approx(whole.seconds, abs=60))  # it is over
    for step in (4, 3, 1):
        for state in (tmp_path / "run" / "states").glob("*.pt"):
            if int(state.stem) > step:
                state.unlink()
        parts = train_by_scores("run", scores[step:])
        assert (parts.best_step, parts.last_step) == (whole.best_step, whole.last_step)
