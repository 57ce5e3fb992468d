"""The training of priors: what a step is shown, and what is measured."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from vqvae2.config import CodeSpace, ExtractionConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.training.loop import fit
from vqvae2.training.prior import PriorTask, measure_nats_per_code


def numbered_views(codes, extraction):
    """The codes of each view as its number everywhere."""
    numbers = np.arange(extraction.num_views, dtype=np.uint8)[:, None, None]
    maps = tuple(np.broadcast_to(numbers, (codes.num_images, len(numbers), *shape)) for shape in codes.shapes)
    return dataclasses.replace(codes, maps=maps, extraction=extraction)


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
        ({}, numbered_views(codes, ExtractionConfig()), ConfigError, "`horizontal_flips` .*`codes`"),
    ):
        with pytest.raises(error, match=message):
            PriorTask(dataclasses.replace(prior_config, **changes), data, training)


@pytest.mark.parametrize(
    ("extraction", "flips", "expected"),
    [
        (ExtractionConfig(horizontal_flips=True), True, [0, 1]),
        (ExtractionConfig(augment=3), False, [0, 1, 2, 3]),
        (ExtractionConfig(augment=2, horizontal_flips=True), True, [0, 1, 2, 3, 4, 5]),
        (ExtractionConfig(augment=2, horizontal_flips=True), False, [0, 2, 4]),  # what is not mirrored
    ],
)
def test_a_prior_is_shown_one_view_of_each_image_all_equally_often(
    make_task, codes, prior_config, extraction, flips, expected
):
    marked = numbered_views(codes, extraction)
    task, seen = PriorTask(prior_config, marked, make_task("prior", horizontal_flips=flips)[1]), []
    task.model.register_forward_pre_hook(
        lambda _, inputs, given: seen.append((inputs[0], *given["above"])), with_kwargs=True
    )
    for _ in range(50):
        task.step(task.model, task.load(list(range(8)), torch.rand(8, 3)))
    views, counts = torch.cat([own[:, 0, 0] for own, _ in seen]).unique(return_counts=True)
    assert views.tolist() == expected
    share = 1 / len(expected)
    assert (counts / 400).tolist() == pytest.approx([share] * len(expected), abs=4 * math.sqrt(share / 400))
    for own, above in seen:
        for codes_of_level in (own, above):  # a view is shown whole
            assert (codes_of_level == own[:, :1, :1]).all()


def test_of_two_views_a_low_chance_shows_the_mirrored_one(make_task, codes, prior_config):
    marked = numbered_views(codes, ExtractionConfig(horizontal_flips=True))
    task = PriorTask(prior_config, marked, make_task("prior")[1])
    chances = torch.tensor([0.0, 0.5 - 2**-25, 0.5, 1.0 - 2**-24])[:, None].expand(4, 3)
    assert task.load([0, 1, 2, 3], chances).codes[0][:, 0, 0].tolist() == [1, 1, 0, 0]


def test_measurements_are_of_the_images_themselves(make_task, codes, prior_config, runtime):
    task, training = make_task("prior")
    torch.nn.init.normal_(task.model.to_logits.weight)
    maps = tuple(level.copy() for level in codes.maps)
    for level in maps:
        level[:, 1:] = 0
    other = PriorTask(prior_config, dataclasses.replace(codes, maps=maps), training)
    assert other.validate(task.model.eval(), runtime) == task.validate(task.model.eval(), runtime)
    assert other.measure_training(task.model, runtime) == task.measure_training(task.model, runtime)
