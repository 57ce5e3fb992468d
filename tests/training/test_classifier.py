"""The training of classifiers: what a step computes, and what is measured."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from vqvae2.config import ImageConfig
from vqvae2.data import ImageFolder, prepare_images
from vqvae2.errors import ConfigError, DataError
from vqvae2.images import from_pixels
from vqvae2.models.checkpoint import load_model
from vqvae2.models.classifier import ClassifierOutput
from vqvae2.training.classifier import ClassifierTask, measure_accuracy
from vqvae2.training.loop import fit


class Given(nn.Module):
    """Gives the logits of a table, in the order in which images are asked for."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.position = logits, 0

    def forward(self, images):
        logits = self.logits[self.position : self.position + len(images)]
        self.position += len(images)
        return ClassifierOutput(logits, logits)


def test_a_classifier_learns_squares_from_stripes(image_store, make_task, read_log, tmp_path, runtime):
    changes = {"steps": 60, "batch_size": 16, "learning_rate": 5e-3, "checkpoint_seconds": 1e6}
    task, training = make_task("classifier", **changes)
    result = fit(task, training, tmp_path / "run", runtime=runtime)
    assert result.validation["accuracy"] > 0.9
    model, header = load_model(tmp_path / "run" / "model.safetensors", kind="classifier")
    measured = measure_accuracy(model, image_store, image_store.indices("validation"), runtime=runtime)
    assert (measured.top1, measured.top5) == (result.validation["accuracy"], None)
    assert measured.loss == pytest.approx(header.metadata["validation"]["loss"], abs=1e-5)
    rows = read_log("run")
    assert {"loss", "accuracy"} <= rows[0].keys()
    assert {"validation_loss", "validation_accuracy"} <= rows[-1].keys()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_a_mixture_of_the_class_and_all_classes(make_task, smoothing):
    """The cross-entropy with a target of 1 - e on the class, and e / K on each of the K classes."""
    task, _ = make_task("classifier", horizontal_flips=False, shift_fraction=0.0, label_smoothing=smoothing)
    task.model.eval()
    batch = task.load([0, 1, 25, 26], torch.rand(4, 3))
    output = task.step(task.model, batch)
    nats = -functional.log_softmax(task.model(from_pixels(batch.pixels)).logits, dim=1)
    of_class = nats[torch.arange(4), batch.labels]
    expected = ((1 - smoothing) * of_class + smoothing * nats.mean(1)).mean()
    torch.testing.assert_close(output.loss, expected)


def test_half_of_the_images_are_mirrored(image_store, make_task):
    seen = []

    class Looking(nn.Module):
        def forward(self, images):
            seen.append(images)
            return ClassifierOutput(images.mean((2, 3))[:, :2], images.mean((2, 3)))

    task, _ = make_task("classifier", shift_fraction=0.0)
    squares = [index for index, name in enumerate(image_store.names) if "squares" in name]
    batch = task.load(squares, torch.rand(len(squares), 3))
    task.step(Looking(), batch)
    images = from_pixels(batch.pixels)
    is_plain = (seen[0] == images).flatten(1).all(1)
    is_mirrored = (seen[0] == images.flip(3)).flatten(1).all(1)
    assert (is_plain ^ is_mirrored).all()
    assert 4 <= is_mirrored.sum() <= 16


def test_measured_accuracy_is_by_hand(image_store, runtime):
    """Of six classes, one image is right, one is second, one is last, one has no class."""
    logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [5.0, 4, 3, 2, 1, 0], [5.0, 4, 3, 2, 1, 0]])
    labels = np.full(image_store.num_images, -1)
    labels[[2, 5, 7]] = 0, 1, 5
    images = replace(image_store, classes=tuple("abcdef"), labels=labels)
    measured = measure_accuracy(Given(logits), images, np.array([2, 5, 6, 7]), runtime=runtime, batch_size=2)
    log_total = math.log(sum(math.exp(value) for value in range(6)))
    assert measured.num_images == 3
    assert measured.top1 == pytest.approx(1 / 3)
    assert measured.top5 == pytest.approx(2 / 3)
    assert measured.loss == pytest.approx(log_total - (5 + 4 + 0) / 3, rel=1e-6)


def test_among_equally_many_wrong_images_the_loss_decides(image_store, make_task, runtime):
    task, _ = make_task("classifier")
    labels = torch.from_numpy(image_store.labels[image_store.indices("validation")])
    right = functional.one_hot(labels, 2).float()
    one_wrong = right.clone()
    one_wrong[0] = 1.0 - right[0]
    score = {
        name: task.validate(Given(logits), runtime)["score"]
        for name, logits in {"sure": 9 * right, "unsure": 0.1 * right, "sure, one wrong": 9 * one_wrong}.items()
    }
    assert score["sure"] < score["unsure"] < 1 / len(labels)
    assert score["unsure"] < score["sure, one wrong"]


def test_images_without_a_class_are_left_out(image_store, make_task):
    task, training = make_task("classifier")
    labels, train = image_store.labels.copy(), image_store.indices("train")
    labels[train[::2]] = -1
    task = ClassifierTask(task.model.config, replace(image_store, labels=labels), training)
    assert task.training_indices.tolist() == train[1::2].tolist()
    assert task.metadata["num_training_images"] == len(train[1::2])


def test_another_store_can_be_validated_on(image_store, image_folder, make_task, tmp_path, runtime):
    source, config = ImageFolder(image_folder), ImageConfig(size=(12, 20), validation_fraction=0.6)
    other = prepare_images(source, tmp_path / "other", config)
    config, training = make_task("classifier")[0].model.config, make_task("classifier")[1]
    task = ClassifierTask(config, image_store, training, validation=other)
    assert task.training_indices.tolist() == image_store.indices("train").tolist()
    model = task.model.eval()
    wanted = measure_accuracy(model, other, other.indices("validation"), runtime=runtime)
    assert task.validate(model, runtime)["loss"] == pytest.approx(wanted.loss)
    for changed in ({"classes": ("stripes", "squares")}, {"pixels": other.pixels[..., :1], "channels": 1}):
        with pytest.raises(ConfigError, match=r"`(classes|in_channels)` .*`validation`"):
            ClassifierTask(config, image_store, training, validation=replace(other, **changed))


def test_images_that_do_not_fit_are_refused(image_store, make_task, runtime):
    with pytest.raises(ConfigError, match=r"`classes` .*`images` \(squares, stripes\), got a, b"):
        make_task("classifier", changes={"classes": ("a", "b")})
    with pytest.raises(ConfigError, match=r"`in_channels` .*`images` \(3\), got 1"):
        make_task("classifier", changes={"in_channels": 1})
    flat = replace(image_store, classes=(), labels=np.full(image_store.num_images, -1))
    task, training = make_task("classifier")
    with pytest.raises(DataError, match=r"train images with classes .* got \d+ without"):
        ClassifierTask(task.model.config, flat, training)
    with pytest.raises(DataError, match=r"images with classes .* got 20 without"):
        measure_accuracy(Given(torch.zeros(0)), flat, np.arange(20), runtime=runtime)
