"""The training loop: it learns, keeps the best, and goes on as if nothing had happened."""

import dataclasses
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.config import (
    CodebookLossConfig,
    CodeSpace,
    EMAConfig,
    FSQConfig,
    PixelSNAILConfig,
    PriorConfig,
    PriorTrainingConfig,
    TokenizerTrainingConfig,
    TrainingConfig,
)
from vqvae2.data import CodeStore
from vqvae2.errors import CheckpointError, ConfigError, OutputError, TrainingError
from vqvae2.models.checkpoint import load_model
from vqvae2.models.vqvae import VQVAE2
from vqvae2.training.budget import measure_step_seconds
from vqvae2.training.extraction import extract_codes
from vqvae2.training.loop import fit
from vqvae2.training.optimization import averaged_copy, build_optimizer
from vqvae2.training.prior import PriorTask, measure_nats_per_code
from vqvae2.training.runtime import choose_runtime
from vqvae2.training.schedule import learning_rate, validation_steps
from vqvae2.training.states import TrainingStates
from vqvae2.training.tokenizer import TokenizerTask

STEPS = {"steps": 12, "batch_size": 8, "max_validations": 3, "checkpoint_seconds": 0.0}
TRAINING = TokenizerTrainingConfig(horizontal_flips=True, **STEPS)
PRIOR_TRAINING = PriorTrainingConfig(horizontal_flips=True, **STEPS)
NETWORK = PixelSNAILConfig(
    hidden_channels=8, residual_channels=8, num_layers=2, attention_every=2, num_heads=2, conditioning_layers=1
)


@pytest.fixture
def codes(image_store, tmp_path):
    tokenizer = TokenizerTask(TOY_TOKENIZER, image_store, TRAINING).model.eval()
    return extract_codes(tokenizer, image_store, tmp_path / "codes", with_flipped=True)


def prior_task(codes: CodeStore, level: int = 1) -> PriorTask:
    space = CodeSpace.of_level(level, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=2)
    config = PriorConfig(space=space, network=NETWORK, tokenizer=codes.fingerprint)
    return PriorTask(config, codes, PRIOR_TRAINING)


def stop_after(step: int):
    def on_progress(progress):
        if progress.done == step + 1:  # the checkpoint of `step` has been written by then
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.parametrize("step", [1, 5, 11])
@pytest.mark.parametrize("kind", ["tokenizer", "prior"])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(image_store, codes, tmp_path, runtime, kind, step):
    def make():
        return TokenizerTask(TOY_TOKENIZER, image_store, TRAINING) if kind == "tokenizer" else prior_task(codes)

    training = TRAINING if kind == "tokenizer" else PRIOR_TRAINING
    whole = make()
    fit(whole, training, tmp_path / "whole", runtime=runtime)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), training, tmp_path / "parts", runtime=runtime, on_progress=stop_after(step))
    torch.rand(7)  # whatever happens in between
    resumed = make()
    fit(resumed, training, tmp_path / "parts", runtime=runtime)

    expected, got = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    _, best = load_model(tmp_path / "whole" / "model.safetensors", kind=kind)
    _, best_of_parts = load_model(tmp_path / "parts" / "model.safetensors", kind=kind)
    assert best.fingerprint == best_of_parts.fingerprint


def test_the_log_of_an_interrupted_training_has_no_double_lines(image_store, tmp_path, runtime):
    task = TokenizerTask(TOY_TOKENIZER, image_store, TRAINING)
    with pytest.raises(KeyboardInterrupt):
        fit(task, TRAINING, tmp_path / "run", runtime=runtime, on_progress=stop_after(5))
    fit(TokenizerTask(TOY_TOKENIZER, image_store, TRAINING), TRAINING, tmp_path / "run", runtime=runtime)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if "validation_mse" in row] == [4, 8, 12]


def test_a_finished_training_is_not_repeated(image_store, tmp_path, runtime):
    first = fit(TokenizerTask(TOY_TOKENIZER, image_store, TRAINING), TRAINING, tmp_path / "run", runtime=runtime)
    calls = []
    again = fit(
        TokenizerTask(TOY_TOKENIZER, image_store, TRAINING),
        TRAINING,
        tmp_path / "run",
        runtime=runtime,
        on_progress=calls.append,
    )
    assert not calls
    assert (again.best_step, again.validation) == (first.best_step, first.validation)


def test_another_config_in_the_same_folder_is_refused(image_store, tmp_path, runtime):
    fit(TokenizerTask(TOY_TOKENIZER, image_store, TRAINING), TRAINING, tmp_path / "run", runtime=runtime)
    other = replace(TRAINING, learning_rate=0.5)
    with pytest.raises(OutputError, match=r"`learning_rate` is 0\.001, asked for 0\.5"):
        fit(TokenizerTask(TOY_TOKENIZER, image_store, other), other, tmp_path / "run", runtime=runtime)
    wider = replace(TOY_TOKENIZER, hidden_channels=16)
    with pytest.raises(OutputError, match="`hidden_channels` is 8, asked for 16"):
        fit(TokenizerTask(wider, image_store, TRAINING), TRAINING, tmp_path / "run", runtime=runtime)


def test_the_saved_model_is_the_best_one(image_store, tmp_path, runtime):
    result = fit(TokenizerTask(TOY_TOKENIZER, image_store, TRAINING), TRAINING, tmp_path / "run", runtime=runtime)
    rows = TrainingStates(tmp_path / "run").load()["rows"]
    scores = {row["step"]: row["validation_mse"] for row in rows if "validation_mse" in row}
    assert result.best_step == min(scores, key=scores.__getitem__)
    _, header = load_model(tmp_path / "run" / "model.safetensors", kind="tokenizer")
    assert header.metadata["step"] == result.best_step


def test_a_tokenizer_learns(image_store, tmp_path, runtime):
    config = replace(TRAINING, steps=150, learning_rate=5e-3)
    task = TokenizerTask(TOY_TOKENIZER, image_store, config)
    with torch.inference_mode():
        before = task.validate(task.model, runtime)["mse"]
    result = fit(task, config, tmp_path / "run", runtime=runtime)
    assert result.validation["mse"] < 0.5 * before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler, about torch
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_a_compiled_step_is_the_step(image_store, tmp_path):
    ends = []
    for compiled in (False, True):
        task = TokenizerTask(TOY_TOKENIZER, image_store, TRAINING)
        training = replace(TRAINING, steps=2, max_validations=1)
        fit(task, training, tmp_path / str(compiled), runtime=choose_runtime("cpu", "float32", compile=compiled))
        ends.append(task.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_prior_learns(codes, tmp_path, runtime):
    config = replace(PRIOR_TRAINING, steps=80, learning_rate=1e-2)
    result = fit(prior_task(codes), config, tmp_path / "run", runtime=runtime)
    assert result.validation["nats_per_code"] < 0.8 * math.log(12)
    assert result.validation["bits_per_code"] == pytest.approx(result.validation["nats_per_code"] / math.log(2))


def test_measured_likelihood_does_not_depend_on_the_batch_size(codes, runtime):
    prior = prior_task(codes).model.eval()
    torch.nn.init.normal_(prior.to_logits.weight)
    indices = codes.indices("train")
    one = measure_nats_per_code(prior, codes, indices, runtime=runtime, batch_size=1)
    assert measure_nats_per_code(prior, codes, indices, runtime=runtime, batch_size=7) == pytest.approx(one, rel=1e-5)


def test_timing_steps_changes_nothing(image_store, tmp_path, runtime):
    task = TokenizerTask(TOY_TOKENIZER, image_store, TRAINING)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    random_before = torch.get_rng_state()
    seconds = measure_step_seconds(task, TRAINING, runtime=runtime, budget_seconds=0.1)
    assert 0.0 < seconds < 5.0
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    assert all(parameter.grad is None for parameter in task.model.parameters())
    assert torch.equal(torch.get_rng_state(), random_before)


class DivergingTask(TokenizerTask):
    """Its seventh loss is not a number, and so are its weights after that step."""

    num_steps = 0

    def step(self, model, batch, device):
        self.num_steps += 1
        output = super().step(model, batch, device)
        return output._replace(loss=output.loss * (math.nan if self.num_steps == 7 else 1.0))


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_good(image_store, tmp_path, runtime):
    files = r"((squares|stripes)/\d+\.png, ){7}(squares|stripes)/\d+\.png; the checkpoint"
    with pytest.raises(TrainingError, match=rf"the loss became nan at step 7, on {files}"):
        fit(DivergingTask(TOY_TOKENIZER, image_store, TRAINING), TRAINING, tmp_path / "run", runtime=runtime)
    loaded, _ = load_model(tmp_path / "run" / "model.safetensors", kind="tokenizer")
    assert all(parameter.isfinite().all() for parameter in loaded.parameters())
    state = TrainingStates(tmp_path / "run").load()
    assert state["step"] == 6
    assert all(value.isfinite().all() for value in state["model"].values())


def test_the_learning_rate_rises_then_falls_to_nothing():
    config = TrainingConfig(steps=100, learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[9] == max(rates) == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0.0 < rates[-1] < 0.001


def test_a_constant_rate_only_rises():
    config = TrainingConfig(steps=100, learning_rate=1.0, warmup_fraction=0.1, schedule="constant")
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert set(rates[9:]) == {1.0}


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_accumulated_parts_give_the_step_of_the_whole_batch(image_store, tmp_path, runtime, ema_decay):
    ends = []
    for accumulation in (1, 4):
        training = replace(
            TRAINING, steps=3, horizontal_flips=False, accumulation=accumulation, max_validations=1, ema_decay=ema_decay
        )
        quantizer = replace(
            TOY_TOKENIZER.quantizer, revival_threshold=0.0
        )  # the last part alone would offer candidates
        task = TokenizerTask(replace(TOY_TOKENIZER, quantizer=quantizer), image_store, training)
        task.model.double()  # or rounding would be enlarged by Adam
        task.model.register_forward_pre_hook(lambda model, inputs: (inputs[0].double(),))
        fit(task, training, tmp_path / str(accumulation), runtime=runtime)
        ends.append(task.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_the_average_follows_the_weights_by_the_decay():
    model = torch.nn.Linear(1, 1, bias=False)
    averaged = averaged_copy(model, 0.5)
    values, expected = [4.0, 8.0, 2.0, 6.0], 0.0
    for count, value in enumerate(values):
        torch.nn.init.constant_(model.weight, value)
        averaged.update_parameters(model)
        decay = min(0.5, (1 + count) / (10 + count)) if count else 0.0
        expected = decay * expected + (1 - decay) * value
    assert averaged.module.weight.item() == pytest.approx(expected)


def test_the_saved_model_is_the_average(image_store, tmp_path, runtime):
    training = replace(TRAINING, max_validations=1, ema_decay=0.9)
    task = TokenizerTask(TOY_TOKENIZER, image_store, training)
    fit(task, training, tmp_path / "run", runtime=runtime)
    saved, _ = load_model(tmp_path / "run" / "model.safetensors", kind="tokenizer")
    state = TrainingStates(tmp_path / "run").load()
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(value, state["averaged"][name])
    assert not torch.equal(saved.decoder[0].weight, task.model.decoder[0].weight)


def test_the_last_model_is_kept_beside_the_best(image_store, tmp_path, runtime):
    fit(TokenizerTask(TOY_TOKENIZER, image_store, TRAINING), TRAINING, tmp_path / "run", runtime=runtime)
    _, header = load_model(tmp_path / "run" / "last.safetensors", kind="tokenizer")
    assert header.metadata["step"] == 12


def test_the_log_tells_usage_over_epochs_and_what_a_step_waits_for(image_store, tmp_path, runtime):
    training = replace(TRAINING, max_validations=100)
    fit(TokenizerTask(TOY_TOKENIZER, image_store, training), training, tmp_path / "run", runtime=runtime)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(0.0 < row["data_seconds"] < row["step_seconds"] for row in rows)
    epochs = [row for row in rows if "usage_0" in row]
    ends = validation_steps(training, num_items=len(image_store.indices("train")))
    assert [row["step"] for row in epochs] == sorted(ends)
    for row in epochs:
        for level in (0, 1):
            assert row[f"usage_{level}"] * 12 + row[f"dead_codes_{level}"] == pytest.approx(12)
            assert 1.0 <= row[f"perplexity_{level}"] <= 12.0
            assert row[f"validation_dead_codes_{level}"] >= 0


@pytest.mark.parametrize(
    ("steps", "batch_size", "num_items", "most", "expected"),
    [
        (12, 8, 32, 20, {4, 8, 12}),
        (12, 8, 32, 2, {8, 12}),
        (12, 8, 30, 20, {4, 8, 12}),  # the third epoch ends within the twelfth batch
        (10, 8, 3, 5, {3, 5, 7, 9, 10}),
        (5, 8, 1000, 20, {5}),  # less than an epoch
    ],
)
def test_validations_end_epochs(steps, batch_size, num_items, most, expected):
    config = TrainingConfig(steps=steps, batch_size=batch_size, max_validations=most)
    assert validation_steps(config, num_items=num_items) == expected


def test_a_learned_codebook_is_not_decayed():
    model = VQVAE2(replace(TOY_TOKENIZER, quantizer=CodebookLossConfig(num_embeddings=12, embedding_dim=4)))
    decayed, others = build_optimizer(model, TRAINING).param_groups
    codebooks = {id(quantizer.codebook) for quantizer in model.quantizers}
    assert codebooks <= {id(parameter) for parameter in others["params"]}
    assert all(parameter.ndim >= 2 for parameter in decayed["params"])


@pytest.mark.parametrize(
    "quantizer",
    [
        EMAConfig(num_embeddings=12, embedding_dim=4, gradient="rotation"),
        CodebookLossConfig(num_embeddings=12, embedding_dim=4),
        FSQConfig(num_values=(3, 4)),
    ],
    ids=str,
)
def test_a_tokenizer_learns_with_every_quantizer(image_store, tmp_path, runtime, quantizer):
    config = replace(TRAINING, steps=150, learning_rate=5e-3, max_validations=1, ema_decay=0.9)
    task = TokenizerTask(replace(TOY_TOKENIZER, quantizer=quantizer), image_store, config)
    with torch.inference_mode():
        before = task.validate(task.model, runtime)["mse"]
    result = fit(task, config, tmp_path / "run", runtime=runtime)
    assert result.validation["mse"] < 0.6 * before


def test_images_of_other_channels_are_refused(image_store):
    with pytest.raises(ConfigError, match=r"`in_channels` must be that of the images \(3\), got 1"):
        TokenizerTask(replace(TOY_TOKENIZER, in_channels=1), image_store, TRAINING)


def test_codes_of_another_codebook_size_are_refused(codes):
    space = CodeSpace(level=0, num_embeddings=(512,), num_classes=2)
    config = PriorConfig(space=space, network=NETWORK, tokenizer=codes.fingerprint)
    with pytest.raises(CheckpointError, match=r"codebooks of \(512,\) codes"):
        PriorTask(config, codes, PRIOR_TRAINING)


def test_codes_of_another_tokenizer_are_refused(codes):
    space = CodeSpace(level=0, num_embeddings=(12,), num_classes=2)
    config = PriorConfig(space=space, network=NETWORK, tokenizer="f" * 32)
    with pytest.raises(CheckpointError, match=f"made by tokenizer {codes.fingerprint}, but this is tokenizer ffff"):
        PriorTask(config, codes, PRIOR_TRAINING)


def test_a_prior_does_not_go_on_from_weights_learned_on_other_codes(codes, tmp_path, runtime):
    fit(prior_task(codes), PRIOR_TRAINING, tmp_path / "run", runtime=runtime)
    other = prior_task(dataclasses.replace(codes, fingerprint="f" * 32))
    message = r"`tokenizer` is .*, asked for 'f+'.*; .* delete the folder to train it anew"
    with pytest.raises(OutputError, match=message):
        fit(other, PRIOR_TRAINING, tmp_path / "run", runtime=runtime)


def test_half_of_the_images_are_shown_mirrored_to_a_prior_at_every_level(codes):
    marked = dataclasses.replace(
        codes,
        maps=tuple(np.zeros_like(level) for level in codes.maps),
        flipped_maps=tuple(np.ones_like(level) for level in codes.maps),
    )
    task, seen = prior_task(marked), []
    task.model.register_forward_pre_hook(
        lambda _, inputs, given: seen.append((inputs[0], *given["above"])), with_kwargs=True
    )
    for _ in range(50):
        task.step(task.model, task.load(list(range(8)), torch.rand(8, 3)), torch.device("cpu"))
    share = torch.cat([own.double().mean((1, 2)) for own, _ in seen])
    assert set(share.tolist()) == {0.0, 1.0}  # an image is mirrored whole
    assert share.mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(400))
    for own, above in seen:
        assert torch.equal(own[:, 0, 0], above[:, 0, 0])  # and with the levels above


def test_validation_never_looks_at_mirrored_images(codes, runtime):
    task = prior_task(codes)
    torch.nn.init.normal_(task.model.to_logits.weight)
    garbled = dataclasses.replace(codes, flipped_maps=tuple(np.zeros_like(level) for level in codes.maps))
    other = prior_task(garbled)
    assert other.validate(task.model.eval(), runtime) == task.validate(task.model.eval(), runtime)


def test_without_flips_mirrored_codes_are_not_read(codes):
    space = CodeSpace.of_level(1, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=2)
    config = PriorConfig(space=space, network=NETWORK, tokenizer=codes.fingerprint)
    task = PriorTask(
        config, dataclasses.replace(codes, flipped_maps=()), replace(PRIOR_TRAINING, horizontal_flips=False)
    )
    loaded, stored = task.load([0, 1], torch.zeros(2, 3)).codes, codes.batch(np.array([0, 1]))
    assert all(torch.equal(*pair) for pair in zip(loaded, stored, strict=True))


def test_flips_without_codes_of_mirrored_images_are_refused(codes):
    message = "`horizontal_flips` needs the codes of mirrored images, which `codes` lacks; extract them again"
    with pytest.raises(ConfigError, match=message):
        prior_task(dataclasses.replace(codes, flipped_maps=()))


def test_the_log_of_a_prior_tells_its_gap_at_every_validation(codes, tmp_path, runtime):
    task = prior_task(codes)
    fit(task, replace(PRIOR_TRAINING, ema_decay=0.0), tmp_path / "run", runtime=runtime)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train_nats_per_code" in row] == [4, 8, 12]
    train = codes.indices("train")
    spread = train[:: -(-len(train) // len(codes.indices("validation")))]
    expected = measure_nats_per_code(task.model.eval(), codes, spread, runtime=runtime)
    assert rows[-1]["train_nats_per_code"] == pytest.approx(expected)
