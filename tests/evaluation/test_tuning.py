"""Laws of the search for sampling settings: what it tries, what it takes, and that nothing is measured twice."""

import dataclasses

import numpy as np
import pytest
import torch

from vqvae2.config import SamplingConfig, TuningConfig
from vqvae2.errors import ConfigError, DataError, OutputError
from vqvae2.evaluation.bench import EvaluationSubject
from vqvae2.evaluation.tuning import tune_sampling
from vqvae2.images import from_pixels, to_pixels
from vqvae2.metrics.frechet_distance import frechet_distance, gaussian_statistics
from vqvae2.metrics.precision_recall import precision_recall
from vqvae2.metrics.results import Results
from vqvae2.sampling.request import DrawRequest
from vqvae2.system.progress import Listener

CONFIG = TuningConfig(temperatures=(1.0, 0.5), top_p_values=(1.0, 0.8), num_images=12, batch_size=8)


@pytest.fixture
def tune(pipeline, real_images, network, runtime, tmp_path):
    def make(config=CONFIG, *, directory="tuning", listener=None, network=network, **changes):
        options = {"pipeline": pipeline, "images": real_images} | changes
        subject = EvaluationSubject(**options, data_name="toy", resize="none")
        return tune_sampling(subject, tmp_path / directory, config, network, runtime=runtime, listener=listener)

    return make


@pytest.fixture
def measure(pipeline, real_images, network):
    """Draw and compare without stores or stages: plainly right, and so the reference."""

    def see(pixels):
        return network.module(from_pixels(torch.as_tensor(pixels))).features.numpy()

    def naive(sampling, count=12):
        order = np.random.default_rng(0)
        training = order.permutation(real_images.indices("train"))
        held_out = see(real_images.read(order.permutation(real_images.indices("validation"))[:count]))
        labels = torch.from_numpy(real_images.labels[training[:count]])
        drawn = see(to_pixels(pipeline.sample(count, DrawRequest(label=labels, sampling=sampling))))
        distance = frechet_distance(gaussian_statistics(drawn), gaussian_statistics(held_out))
        return (distance, *precision_recall(drawn, held_out))

    return naive


def settings(table):
    return [(scores.sampling.temperature, scores.sampling.top_p) for scores in table.candidates]


def scores_of(scores):
    return scores.frechet_distance, scores.precision, scores.recall


def test_each_candidate_is_scored_as_by_hand_and_the_nearest_is_chosen(tune, measure):
    table = tune().tuning["Colours"]
    for scores in table.candidates:
        assert scores_of(scores) == pytest.approx(measure(scores.sampling), rel=1e-4)
    best = min(table.candidates, key=lambda scores: scores.kernel_distance)
    assert table.chosen == best.sampling
    assert (table.protocol.num_images, table.protocol.reference) == (12, "validation images of toy")


def test_levels_are_searched_from_the_top_each_with_those_above_as_chosen(tune):
    tried = settings(tune().tuning["Colours"])
    assert tried[:4] == [((t, 1.0), (p, 1.0)) for t in (1.0, 0.5) for p in (1.0, 0.8)]
    assert len(tried) == 7
    (top,) = {(temperature[0], top_p[0]) for temperature, top_p in tried[4:]}
    candidates = tune().tuning["Colours"].candidates[:4]
    best = min(candidates, key=lambda scores: scores.kernel_distance).sampling
    assert top == (best.temperature[0], best.top_p[0])


def test_top_k_and_guidance_stay_as_the_pipeline_has_them(tune, pipeline):
    own = SamplingConfig(temperature=(0.7,), top_k=(3, 0), guidance_scale=2.0)
    pipeline.config = dataclasses.replace(pipeline.config, sampling=own)
    table = tune(TuningConfig(temperatures=(1.0,), top_p_values=(1.0,), num_images=8)).tuning["Colours"]
    assert settings(table) == [((1.0, 1.0), (1.0, 1.0))]
    assert (table.chosen.top_k, table.chosen.guidance_scale) == ((3, 0), 2.0)
    assert pipeline.config.sampling == own


def test_a_second_search_measures_only_what_is_new(tune, network, tmp_path):
    first = tune()
    seen = network.module.num_images
    assert tune() == first == Results.read(tmp_path / "tuning" / "results.json")
    assert network.module.num_images == seen
    more = tune(dataclasses.replace(CONFIG, temperatures=(1.0, 0.5, 0.9))).tuning["Colours"]
    assert more.candidates[:7] == first.tuning["Colours"].candidates
    assert len(more.candidates) > 7
    less = tune(dataclasses.replace(CONFIG, temperatures=(1.0,), top_p_values=(1.0,))).tuning["Colours"]
    assert (less.candidates, less.chosen.in_words) == (more.candidates, "temperature 1")
    assert {path.name for path in (tmp_path / "tuning").iterdir()} == {"results.json", "features"}


def test_a_search_that_was_stopped_resumes_to_the_same_table(tune):
    class Stopping(Listener):
        def __init__(self, left):
            self.left = left

        def progress(self, progress):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    wanted, stops = tune(directory="whole"), 0
    while True:
        try:
            results = tune(listener=Stopping(100 + stops))  # in the middle of drawing, and elsewhere
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 3
    assert results == wanted


def test_scores_that_do_not_compare_are_not_mixed(tune, pipeline, network):
    tune(dataclasses.replace(CONFIG, temperatures=(1.0,)))
    with pytest.raises(OutputError, match=r"`seed` is 0, asked for 1\).*--force"):
        tune(dataclasses.replace(CONFIG, seed=1))
    with pytest.raises(OutputError, match="`num_images` is 12, asked for 10"):
        tune(dataclasses.replace(CONFIG, num_images=10))
    other = dataclasses.replace(network, preprocessing="means of other quarters")
    assert len(tune(dataclasses.replace(CONFIG, temperatures=(0.5,)), network=other).tuning["Colours"].candidates) == 5
    both = tune(CONFIG, network=dataclasses.replace(network, name="Shades")).tuning
    assert list(both) == ["Colours", "Shades"]
    pipeline.priors[0].to_logits.weight.data += 1.0
    with pytest.raises(OutputError, match=r"`pipeline\.priors\.0` is '"):
        tune()


def test_a_pipeline_without_priors_and_too_few_images_are_refused(tune, pipeline):
    with pytest.raises(DataError, match="needs at least 4 images"):
        tune(dataclasses.replace(CONFIG, num_images=3))
    bare = dataclasses.replace(pipeline, priors=(), config=dataclasses.replace(pipeline.config, has_priors=False))
    with pytest.raises(ConfigError, match="must have priors"):
        tune(pipeline=bare)
