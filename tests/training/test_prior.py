"""The training of priors: what a step is shown, and what is measured."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from vqvae2.config import CodeSpace
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.training.loop import fit
from vqvae2.training.prior import PriorTask, measure_nats_per_code


def test_a_prior_learns_and_tells_its_gap_at_every_validation(make_task, codes, read_log, tmp_path, runtime):
    task, training = make_task("prior", steps=60, learning_rate=1e-2, ema_decay=0.0, checkpoint_seconds=1e6)
    validation = fit(task, training, tmp_path / "run", runtime=runtime).validation
    assert validation["nats_per_code"] < 0.85 * math.log(12)
    assert validation["bits_per_code"] == pytest.approx(validation["nats_per_code"] / math.log(2))
    rows = [row for row in read_log("run") if "train_nats_per_code" in row]
    assert len(rows) == 3
    assert all("validation_nats_per_code" in row for row in rows)
    train = codes.indices("train")
    spread = train[:: -(-len(train) // len(codes.indices("validation")))]
    expected = measure_nats_per_code(task.model.eval(), codes, spread, runtime=runtime)
    assert rows[-1]["train_nats_per_code"] == pytest.approx(expected)


def test_measured_likelihood_does_not_depend_on_the_batch_size(make_task, codes, runtime):
    prior = make_task("prior")[0].model.eval()
    torch.nn.init.normal_(prior.to_logits.weight)
    indices = codes.indices("train")
    one = measure_nats_per_code(prior, codes, indices, runtime=runtime, batch_size=1)
    assert measure_nats_per_code(prior, codes, indices, runtime=runtime, batch_size=7) == pytest.approx(one, rel=1e-5)


def test_codes_that_do_not_fit_are_refused(make_task, codes, prior_config):
    _, training = make_task("prior")
    space = CodeSpace(level=0, num_embeddings=(512,), num_classes=2)
    for changes, data, error, message in (
        ({"space": space}, codes, CheckpointError, r"`codes` .*\(512,\)"),
        ({"tokenizer": "f" * 32}, codes, CheckpointError, f"{codes.fingerprint}.*ffff"),
        ({}, dataclasses.replace(codes, flipped_maps=()), ConfigError, "`horizontal_flips` .*`codes`"),
    ):
        with pytest.raises(error, match=message):
            PriorTask(dataclasses.replace(prior_config, **changes), data, training)


def test_half_of_the_images_are_shown_mirrored_to_a_prior_at_every_level(make_task, codes, prior_config):
    marked = dataclasses.replace(
        codes,
        maps=tuple(np.zeros_like(level) for level in codes.maps),
        flipped_maps=tuple(np.ones_like(level) for level in codes.maps),
    )
    task, seen = PriorTask(prior_config, marked, make_task("prior")[1]), []
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


def test_mirrored_codes_are_read_for_training_with_flips_alone(make_task, codes, prior_config, runtime):
    task, training = make_task("prior")
    torch.nn.init.normal_(task.model.to_logits.weight)
    garbled = dataclasses.replace(codes, flipped_maps=tuple(np.zeros_like(level) for level in codes.maps))
    other = PriorTask(prior_config, garbled, training)
    assert other.validate(task.model.eval(), runtime) == task.validate(task.model.eval(), runtime)
    without = dataclasses.replace(training, horizontal_flips=False)
    task = PriorTask(prior_config, dataclasses.replace(codes, flipped_maps=()), without)
    loaded, stored = task.load([0, 1], torch.zeros(2, 3)).codes, codes.batch(np.array([0, 1]))
    assert all(torch.equal(*pair) for pair in zip(loaded, stored, strict=True))
