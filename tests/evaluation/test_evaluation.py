"""Laws of an evaluation's folder: complete, repeatable, resumable, and clear about what it cannot do."""

import contextlib
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vqvae2.config import EVALUATION_METRICS, ClassifierTrainingConfig, EvaluationConfig, ResNetConfig, SamplingConfig
from vqvae2.errors import CheckpointError, ConfigError, OutputError
from vqvae2.evaluation.bench import Bench, EvaluationSubject
from vqvae2.evaluation.evaluation import Evaluation
from vqvae2.evaluation.features import noise_images
from vqvae2.evaluation.networks import EvaluationNetworks
from vqvae2.evaluation.sets import EvaluationSets
from vqvae2.images import from_pixels
from vqvae2.metrics.frechet_distance import frechet_distance, gaussian_statistics
from vqvae2.metrics.results import Results
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.report.pictures import read_grid
from vqvae2.system.progress import Listener

CONFIG = EvaluationConfig(
    num_samples=40,
    acceptance_rates=(1.0, 0.5, 0.25),
    classifier_network=ResNetConfig(hidden_channels=4, num_blocks=(1,)),
    classifier_epochs=0,
    classifier_training=ClassifierTrainingConfig(steps=6, batch_size=8),
    batch_size=8,
)


@pytest.fixture
def evaluate(pipeline, real_images, network, runtime, tmp_path):
    """Open the evaluation of a folder, by default the same one each time."""

    def make(directory="evaluation", *, config=CONFIG, networks=(network,), listener=None, **changes):
        options = {"pipeline": pipeline, "images": real_images} | changes
        subject = EvaluationSubject(**options, data_name="toy", resize="crop, Lanczos")
        judging = networks if isinstance(networks, EvaluationNetworks) else EvaluationNetworks(given=networks)
        return Evaluation(subject, tmp_path / directory, config, judging, runtime=runtime, listener=listener)

    return make


@pytest.fixture
def sets(pipeline, real_images, runtime, tmp_path):
    subject = EvaluationSubject(pipeline=pipeline, images=real_images, data_name="toy", resize="none")
    return EvaluationSets(
        Bench(subject=subject, directory=tmp_path, config=CONFIG, runtime=runtime, listener=Listener())
    )


def measured(results):
    return [metric for metric in EVALUATION_METRICS if getattr(results, metric)]


class Stopping(Listener):
    """Interrupts after some reports of progress."""

    def __init__(self, count):
        self.left = count

    def progress(self, progress):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_everything_is_measured_with_its_protocol_and_not_again(evaluate, network, tmp_path):
    results = evaluate().run()
    assert results.left_out == {}
    assert measured(results) == list(EVALUATION_METRICS)
    assert Results.read(tmp_path / "evaluation" / "results.json") == results
    for by_network in (results.quality, results.dial, results.memorization):
        assert list(by_network) == ["Colours", "Classifier"]
    sets = [row.set for row in results.quality["Colours"].sets]
    assert sets == ["validation images", "reconstructions of validation images", "samples", "noise"]
    assert [row.trained_on for row in results.accuracy.classifiers] == ["real", "reconstructions", "samples"]
    assert [row.acceptance_rate for row in results.dial["Colours"].rates] == [1.0, 0.5, 0.25]
    protocol = results.quality["Colours"].protocol
    assert protocol.reference == "training images of toy"
    assert (protocol.num_reference, protocol.num_images, protocol.image_size) == (40, 20, (16, 24))
    assert (protocol.network_fingerprint, protocol.preprocessing) == (network.fingerprint, network.preprocessing)
    assert results.dial["Colours"].protocol.num_images == 10
    assert results.reconstruction.train.num_images == results.reconstruction.validation.num_images == 20
    assert (tmp_path / "evaluation" / "dial.png").exists()
    # The samples nearest to a training image come first, and below each its neighbours, the nearest first.
    shown = read_grid(tmp_path / "evaluation" / "memorization-colours.png", (16, 24))
    seen = network.module(from_pixels(torch.from_numpy(shown).flatten(0, 1))).features.unflatten(0, shown.shape[:2])
    distances = (seen[1:] - seen[0]).norm(dim=2)
    assert shown.shape[:2] == (4, 12)
    assert (distances.diff(dim=0) >= 0).all()
    assert (distances[0].diff() >= 0).all()

    seen = network.module.num_images
    assert evaluate().run() == results
    (tmp_path / "evaluation" / "results.json").unlink()
    assert dataclasses.replace(evaluate().run(), seconds={}) == dataclasses.replace(results, seconds={})
    assert network.module.num_images == seen


def test_sets_are_compared_with_as_many_held_out_images_too(evaluate, sets, real_images, network):
    def seen(images):
        pixels = torch.from_numpy(images.read(0, 20))
        return gaussian_statistics(network.module(from_pixels(pixels)).features.numpy())

    held_out, *rows = evaluate().run(["quality"]).quality["Colours"].sets
    assert held_out.frechet_distance_to_held_out is None
    for row, images in zip(rows, (sets.reconstructed, sets.sampled, noise_images(real_images, 20)), strict=True):
        expected = frechet_distance(seen(images), seen(sets.held_out))
        assert row.frechet_distance_to_held_out == pytest.approx(expected, rel=1e-4)  # features are float32


def test_what_equals_the_held_out_images_has_no_distance_to_them(evaluate, pipeline):
    class Exact(Pipeline):
        def reconstruct(self, images):
            return images

    results = evaluate(pipeline=Exact(pipeline.tokenizer, pipeline.config, pipeline.priors)).run(["quality"])
    held_out, reconstructions, *_ = results.quality["Colours"].sets
    assert reconstructions.frechet_distance_to_held_out == pytest.approx(0.0, abs=1e-12)
    assert reconstructions.frechet_distance == held_out.frechet_distance > 1e-3


def test_an_evaluation_that_is_stopped_again_and_again_ends_with_the_same_numbers(evaluate):
    for stops in range(30):  # noqa: B007 (it counts)
        with contextlib.suppress(KeyboardInterrupt):
            results = evaluate("stopped", listener=Stopping(60)).run()
            break
    assert 3 <= stops < 29
    assert dataclasses.replace(results, seconds={}) == dataclasses.replace(evaluate().run(), seconds={})


def test_metrics_can_be_picked_and_added(evaluate, tmp_path):
    assert measured(evaluate().run(["likelihood"])) == ["likelihood"]
    assert not (tmp_path / "evaluation" / "samples").exists()
    assert measured(evaluate().run(["reconstruction"])) == ["reconstruction", "likelihood"]


def test_another_network_of_the_same_name_measures_anew(evaluate, network):
    only = EvaluationNetworks(given=(network,), with_classifier=False)
    first = evaluate(networks=only).run(["quality"])
    network.module.weight *= 2
    other = dataclasses.replace(only, given=(dataclasses.replace(network),))
    assert evaluate(networks=other).run(["quality"]).quality != first.quality


def test_samples_stand_one_for_each_training_image(sets, real_images):
    labels = sets.samples.labels
    assert labels.tolist() == real_images.labels[sets.labelled[:40]].tolist()
    assert np.bincount(labels).tolist() == [20, 20]
    # Held-out images are never in the reference or trained on.
    assert not set(sets.validation) & {*sets.training, *sets.labelled}
    assert not real_images.is_validation[sets.labelled].any()


def test_without_priors_what_they_draw_is_left_out(evaluate, pipeline):
    results = evaluate(pipeline=Pipeline(pipeline.tokenizer, pipeline.config)).run()
    assert sorted(results.left_out) == ["dial", "likelihood", "memorization"]
    assert "needs priors" in results.left_out["likelihood"]
    assert [row.trained_on for row in results.accuracy.classifiers] == ["real", "reconstructions"]
    assert [row.set for row in results.quality["Colours"].sets][2] == "noise"


def test_without_labels_what_needs_them_is_left_out(evaluate, real_images):
    results = evaluate(images=dataclasses.replace(real_images, labels=np.full(60, -1))).run()
    assert sorted(results.left_out) == ["accuracy", "dial"]
    assert "needs images with labels" in results.left_out["accuracy"]
    assert list(results.quality) == ["Colours"]


def test_too_few_images_or_samples_are_named_with_the_least_count(evaluate, real_images):
    few = dataclasses.replace(real_images, is_validation=np.arange(60) >= 58)
    results = evaluate(images=few).run(None)
    assert "at least 4 held-out images and as many samples, got 2 and " in results.left_out["quality"]
    with pytest.raises(ConfigError, match=r"`quality` needs at least 4 held-out images .*; hold more images out"):
        evaluate(images=few).run(["quality"])
    with pytest.raises(ConfigError, match=r"`dial` needs at least 4 .* got \d+ and 3;"):
        evaluate("other", config=dataclasses.replace(CONFIG, num_samples=3)).run(["dial"])


def test_a_metric_that_is_asked_for_and_does_not_apply_is_refused(evaluate, pipeline):
    bare = Pipeline(pipeline.tokenizer, pipeline.config)
    for metric in ("likelihood", "dial"):
        with pytest.raises(ConfigError, match=f"`{metric}` needs priors"):
            evaluate(pipeline=bare).run([metric])
    with pytest.raises(ConfigError, match=r"`metrics` .* 'fid'"):
        evaluate(pipeline=bare).run(["fid"])
    with pytest.raises(ConfigError, match="`quality` needs a feature network"):
        evaluate(pipeline=bare, networks=EvaluationNetworks(with_classifier=False)).run(["quality"])


def test_a_folder_holds_one_evaluation_of_one_pipeline_and_its_images(evaluate, pipeline, real_images):
    evaluate()
    other_pixels = dataclasses.replace(real_images, pixels=255 - real_images.pixels)
    for changes, name in (
        ({"config": dataclasses.replace(CONFIG, seed=1)}, "config"),
        ({"config": dataclasses.replace(CONFIG, sampling=SamplingConfig(temperature=(0.5,)))}, "config"),
        ({"images": other_pixels}, "images"),
        ({"pipeline": Pipeline(pipeline.tokenizer, pipeline.config)}, "pipeline"),
    ):
        with pytest.raises(OutputError, match=f"`{name}.*asked for.*--force"):
            evaluate(**changes)


def test_samples_are_drawn_with_the_pipelines_own_settings_which_the_results_name(evaluate, pipeline, real_images):
    own, given = SamplingConfig(temperature=(0.5,)), SamplingConfig(temperature=(0.7,))
    plain = evaluate("plain").run(["quality"]).quality["Colours"]
    pipeline.config = dataclasses.replace(pipeline.config, sampling=own)
    tuned = evaluate("tuned").run(["quality"])
    assert (tuned.quality["Colours"].protocol.sampling, tuned.config["sampling"]["temperature"]) == (own, [0.5])
    assert tuned.quality["Colours"].sets[2] != plain.sets[2]
    for sampling, wanted in ((SamplingConfig(), plain), (given, None)):
        config = dataclasses.replace(CONFIG, sampling=sampling)
        found = evaluate(sampling.in_words, config=config).run(["quality"]).quality["Colours"]
        assert found.protocol.sampling == sampling
        assert wanted in (None, found)
    bare = Pipeline(pipeline.tokenizer, dataclasses.replace(pipeline.config, has_priors=False))
    assert evaluate("bare", pipeline=bare).run(["quality"]).quality["Colours"].protocol.sampling is None


def test_a_folder_holds_images_of_one_decoder(evaluate, pipeline, sharp_pipeline, tmp_path):
    faithful = evaluate(pipeline=sharp_pipeline.using("faithful")).run(["reconstruction"])
    assert (faithful.decoder, faithful.pipeline) == ("faithful", pipeline.fingerprints())
    with pytest.raises(OutputError, match=r"`decoder` is 'faithful', asked for 'sharp'\).*--force"):
        evaluate(pipeline=sharp_pipeline)
    sharp = evaluate("sharp", pipeline=sharp_pipeline).run(["reconstruction", "likelihood"])
    assert (sharp.decoder, sharp.pipeline) == ("sharp", sharp_pipeline.fingerprints())
    assert sharp.reconstruction.validation != faithful.reconstruction.validation
    assert Results.read(tmp_path / "sharp" / "results.json") == sharp
    sharp_pipeline.sharp_decoder.decoder[0].bias.data += 1.0
    with pytest.raises(OutputError, match=r"`pipeline\.sharp_decoder` is '"):
        evaluate("sharp", pipeline=sharp_pipeline)
    assert evaluate(pipeline=pipeline).run(["likelihood"]).likelihood == sharp.likelihood


def test_an_evaluation_from_before_second_decoders_is_resumed(evaluate, sharp_pipeline, tmp_path):
    before = evaluate().run(["likelihood"])
    record, results = (tmp_path / "evaluation" / name for name in ("evaluation.json", "results.json"))
    for path in (record, results):
        values = json.loads(path.read_text())
        del values["decoder"], values["pipeline"]["sharp_decoder"]
        path.write_text(json.dumps(values))
    assert evaluate(pipeline=sharp_pipeline.using("faithful")).run(["likelihood"]) == before
    with pytest.raises(OutputError, match="`decoder` is 'faithful'"):
        evaluate(pipeline=sharp_pipeline)


def test_images_of_another_size_or_other_classes_are_refused(evaluate, image_store, real_images):
    with pytest.raises(ConfigError, match=r"`images` .*\(16, 24\).*got \(\(16, 16\)"):
        evaluate(images=image_store)
    with pytest.raises(ConfigError, match=r"`images` .*cat, dog.*got dog, cat"):
        evaluate(images=dataclasses.replace(real_images, classes=("dog", "cat")))


def test_damaged_and_older_results_are_named_with_the_remedy(evaluate, tmp_path):
    evaluate().run(["likelihood"])
    for text in ("{", '{"likelihood": {}}'):
        (tmp_path / "evaluation" / "results.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"results\.json .*delete it, and run"):
            evaluate().run(["likelihood"])
    for text in ("[", "[]", "{}"):
        (tmp_path / "evaluation" / "evaluation.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"evaluation\.json .*--force"):
            evaluate()


def test_networks_of_one_name_are_refused(network):
    with pytest.raises(ConfigError, match=r"`networks` .* Colours, Colours, Classifier"):
        EvaluationNetworks(given=(network, network))
    with pytest.raises(ConfigError, match=r"`name` .* 'google/vit'"):
        dataclasses.replace(network, name="google/vit")


def test_precision_by_score_is_printed(evaluate, tmp_path, run_script):
    evaluate().run(["dial"])
    script = Path(__file__).parents[2] / "benchmarks" / "rejection.py"
    header, _, *bands = run_script(script, tmp_path / "evaluation", "--bands=4").splitlines()
    assert header == "| scores | precision, classifier | precision, colours |"
    assert len(bands) == 4
