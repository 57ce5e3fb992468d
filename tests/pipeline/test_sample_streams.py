"""Laws of drawing images one batch after the other."""

import pytest
import torch
from torch import nn

from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.images import from_pixels, to_pixels
from vqvae2.models.classifier import ClassifierOutput
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.pipeline.sample_streams import sample_accepted, sample_all
from vqvae2.sampling.request import DrawRequest


class Brightness(nn.Module):
    """Takes an image for the second of two classes as surely as it is bright; remembers its largest batch."""

    largest_batch = 0

    def forward(self, images):
        self.largest_batch = max(self.largest_batch, len(images))
        brightness = 30 * images.double().mean(dim=(1, 2, 3))
        return ClassifierOutput(torch.stack((-brightness, brightness), dim=1), images.flatten(1))


def keep(samples):
    """Follow a stream to its end, and return what stays, by number."""
    kept = {}
    for sample in samples:
        kept[sample.number] = sample
        if sample.displaced is not None:
            del kept[sample.displaced]
    return kept


def test_a_stream_gives_the_images_and_classes_of_one_large_batch(pipeline):
    request = DrawRequest(seed=3, first_image=2)
    samples = list(sample_all(pipeline, 7, request, batch_size=3))
    expected = to_pixels(pipeline.sample(7, request))
    assert [sample.number for sample in samples] == list(range(2, 9))
    assert all(sample.pixels.untyped_storage().nbytes() == sample.pixels.nbytes for sample in samples)
    assert [sample.label for sample in samples] == pipeline.labels(7, request).tolist()
    close = (torch.stack([sample.pixels for sample in samples]).int() - expected.int()).abs() <= 1
    assert close.all()  # in float32 a batch's size moves the last bits


def test_each_image_can_have_its_own_class(pipeline):
    labels = torch.tensor([1, 0, 0, 1, 1])
    assert [
        sample.label for sample in sample_all(pipeline, 5, DrawRequest(label=labels), batch_size=2)
    ] == labels.tolist()


def test_a_fraction_keeps_the_best_of_all_that_are_drawn(pipeline):
    classifier = Brightness()
    kept = keep(sample_accepted(pipeline, classifier, 5, DrawRequest(seed=1), acceptance_rate=0.25, batch_size=4))
    everything = list(sample_all(pipeline, 20, DrawRequest(seed=1), batch_size=4))
    for label in (0, 1):
        own = [sample for sample in everything if sample.label == label]
        sign = 1 if label else -1
        own.sort(key=lambda sample: -sign * from_pixels(sample.pixels[None]).double().mean().item())
        chosen = {number for number, sample in kept.items() if sample.label == label}
        assert chosen == {sample.number for sample in own[: len(chosen)]}
    assert len(kept) == 5
    assert classifier.largest_batch == 4


def test_a_threshold_draws_until_enough_pass(pipeline):
    samples = list(sample_accepted(pipeline, Brightness(), 5, DrawRequest(seed=1), threshold=0.5, batch_size=4))
    scores = {
        sample.number: sample.score
        for sample in sample_accepted(pipeline, Brightness(), 40, DrawRequest(seed=1), acceptance_rate=1.0)
    }
    assert [sample.number for sample in samples] == [number for number, score in scores.items() if score >= 0.5][:5]
    assert samples[-1].num_drawn == samples[-1].number + 1


def test_a_threshold_that_hardly_anything_passes_is_given_up(pipeline):
    class Unsure(nn.Module):
        def forward(self, images):
            return ClassifierOutput(torch.zeros(len(images), 2), images.flatten(1))

    pipeline.sample = lambda count, *_, **__: torch.zeros(count, 3, 16, 24)  # only the counting matters here
    with pytest.raises(ConfigError, match=r"only 0 of 1,001 images had a probability of `threshold` 0.9 or more"):
        list(sample_accepted(pipeline, Unsure(), 2, threshold=0.9))


@pytest.mark.parametrize("options", [{}, {"acceptance_rate": 0.5, "threshold": 0.5}, {"threshold": 1.5}])
def test_one_rule_has_to_be_given_within_its_range(pipeline, options):
    with pytest.raises(ConfigError, match="`threshold` must be"):
        next(sample_accepted(pipeline, Brightness(), 2, **options))


def test_without_classes_there_is_nothing_to_judge_by(pipeline):
    plain = Pipeline(pipeline.tokenizer, type(pipeline.config)(image_size=(16, 24)))
    with pytest.raises(CheckpointError, match="this pipeline has no classes"):
        next(sample_accepted(plain, Brightness(), 2, acceptance_rate=0.5))


def test_a_stream_needs_images_and_a_batch(pipeline):
    with pytest.raises(ConfigError, match="`num_images` and `batch_size` must be above 0, got 3, 0"):
        next(sample_all(pipeline, 3, batch_size=0))
