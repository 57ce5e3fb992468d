"""Laws of an evaluation's folder: complete, repeatable, resumable, and clear about what it cannot do."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vqvae2.config import EVALUATION_METRICS, ClassifierTrainingConfig, EvaluationConfig, ResNetConfig, SamplingConfig
from vqvae2.errors import CheckpointError, ConfigError, DataError, OutputError
from vqvae2.evaluation.evaluation import Evaluation
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.system.progress import Silence

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

    def make(directory="evaluation", **changes):
        options = {"pipeline": pipeline, "images": real_images, "config": CONFIG, "networks": [network]} | changes
        return Evaluation(
            **options, directory=tmp_path / directory, data_name="toy", resize="crop, Lanczos", runtime=runtime
        )

    return make


def without_seconds(values):
    if isinstance(values, dict):
        return {name: without_seconds(value) for name, value in values.items() if name != "seconds"}
    return [without_seconds(value) for value in values] if isinstance(values, list) else values


class Stopping(Silence):
    """Interrupts after some reports of progress."""

    def __init__(self, count):
        self.left = count

    def progress(self, progress):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_everything_is_measured_with_its_protocol(evaluate, tmp_path):
    results = evaluate().run()
    assert results["left_out"] == {}
    assert [name for name in results if name in EVALUATION_METRICS] == list(EVALUATION_METRICS)
    assert json.loads((tmp_path / "evaluation" / "results.json").read_text()) == results
    for metric in ("quality", "dial", "memorization"):
        assert list(results[metric]) == ["Colours", "Classifier"]
    sets = [row["set"] for row in results["quality"]["Colours"]["sets"]]
    assert sets == ["validation images", "reconstructions of validation images", "samples", "noise"]
    assert [row["trained_on"] for row in results["accuracy"]["classifiers"]] == ["real", "reconstructions", "samples"]
    assert [row["acceptance_rate"] for row in results["dial"]["Colours"]["rates"]] == [1.0, 0.5, 0.25]
    protocol = results["quality"]["Colours"]["protocol"]
    assert protocol["reference"] == "training images of toy"
    assert (protocol["num_reference"], protocol["num_images"], protocol["image_size"]) == (40, 20, [16, 24])
    assert {"reference_fingerprint", "network_fingerprint", "preprocessing", "resize", "versions"} <= set(protocol)
    assert results["dial"]["Colours"]["protocol"]["num_images"] == 10
    for picture in ("dial.png", "memorization-colours.png"):
        assert (tmp_path / "evaluation" / picture).exists()


def test_what_is_measured_is_not_measured_again(evaluate, network):
    first = evaluate().run()
    seen = network.module.num_images
    assert evaluate().run() == first
    assert network.module.num_images == seen


def test_an_evaluation_that_is_stopped_again_and_again_ends_with_the_same_numbers(evaluate):
    stops = 0
    while stops < 30:
        try:
            results = evaluate("stopped", listener=Stopping(30)).run()
        except KeyboardInterrupt:
            stops += 1
        else:
            break
    assert 3 <= stops < 30
    assert without_seconds(results) == without_seconds(evaluate().run())


def test_metrics_can_be_picked_and_added(evaluate, tmp_path):
    assert set(evaluate().run(["likelihood"])) & set(EVALUATION_METRICS) == {"likelihood"}
    assert not (tmp_path / "evaluation" / "samples").exists()
    evaluate().run(["reconstruction", "quality"])
    measured = {path.name.split("-")[0].split(".")[0] for path in (tmp_path / "evaluation" / "measured").iterdir()}
    assert measured == {"likelihood", "reconstruction", "quality"}


def test_results_keep_what_was_measured_before(evaluate):
    evaluate().run(["likelihood"])
    assert set(evaluate().run(["reconstruction"])) >= {"likelihood", "reconstruction"}


def test_an_unknown_metric_is_refused(evaluate):
    with pytest.raises(ConfigError, match=r"`metrics` must be some of reconstruction, .* got 'fid'"):
        evaluate().run(["fid"])


def test_samples_stand_one_for_each_training_image(evaluate, real_images):
    sets = evaluate()._bench.sets
    labels = sets.samples.labels
    assert labels.tolist() == real_images.labels[sets.labelled[:40]].tolist()
    assert np.bincount(labels).tolist() == [20, 20]


def test_held_out_images_are_never_in_the_reference_or_trained_on(evaluate, real_images):
    sets = evaluate()._bench.sets
    assert not set(sets.validation) & {*sets.training, *sets.labelled}
    assert not real_images.is_validation[sets.labelled].any()


def test_without_priors_what_they_draw_is_left_out(evaluate, pipeline):
    bare = Pipeline(pipeline.tokenizer, pipeline.config)
    results = evaluate(pipeline=bare).run()
    assert sorted(results["left_out"]) == ["dial", "likelihood", "memorization"]
    assert "needs priors" in results["left_out"]["likelihood"]
    assert [row["trained_on"] for row in results["accuracy"]["classifiers"]] == ["real", "reconstructions"]
    assert [row["set"] for row in results["quality"]["Colours"]["sets"]][2] == "noise"


def test_without_labels_what_needs_them_is_left_out(evaluate, real_images):
    unlabelled = dataclasses.replace(real_images, labels=np.full(60, -1))
    results = evaluate(images=unlabelled).run()
    assert sorted(results["left_out"]) == ["accuracy", "dial"]
    assert "needs images with labels, and these have none" in results["left_out"]["accuracy"]
    assert list(results["quality"]) == ["Colours"]


def test_too_few_images_are_named_with_the_least_count(evaluate, real_images):
    few = dataclasses.replace(real_images, is_validation=np.arange(60) >= 58)
    results = evaluate(images=few).run()
    assert "at least 4 images" in results["left_out"]["quality"]
    with pytest.raises(DataError, match="at least 4 images"):
        evaluate(images=few).run(["quality"])


def test_too_few_samples_for_the_lowest_rate_are_named(evaluate):
    with pytest.raises(DataError, match=r"leaves none of 3 samples; draw at least 4"):
        evaluate(config=dataclasses.replace(CONFIG, num_samples=3)).run(["dial"])


@pytest.mark.parametrize(
    ("metric", "message"),
    [("likelihood", "`likelihood` needs priors"), ("dial", "`dial` needs priors")],
)
def test_a_metric_that_is_asked_for_and_does_not_apply_is_refused(evaluate, pipeline, metric, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(pipeline=Pipeline(pipeline.tokenizer, pipeline.config)).run([metric])


def test_without_any_network_nothing_is_compared(evaluate):
    with pytest.raises(ConfigError, match="`quality` needs a feature network, got none"):
        evaluate(networks=[], with_classifier=False).run(["quality"])


@pytest.mark.parametrize(
    "change",
    [
        {"config": dataclasses.replace(CONFIG, seed=1)},
        {"config": dataclasses.replace(CONFIG, sampling=SamplingConfig(temperature=(0.5,)))},
    ],
)
def test_a_folder_holds_one_evaluation(evaluate, change):
    evaluate()
    with pytest.raises(OutputError, match="holds an evaluation with another config; choose another folder, or use --f"):
        evaluate(**change)


def test_a_folder_is_of_one_pipeline_and_its_images(evaluate, pipeline, real_images):
    evaluate()
    with pytest.raises(OutputError, match="another images"):
        evaluate(images=dataclasses.replace(real_images, pixels=255 - real_images.pixels))
    pipeline = Pipeline(pipeline.tokenizer.double(), pipeline.config)
    with pytest.raises(OutputError, match="another pipeline"):
        evaluate(pipeline=pipeline)


def test_images_of_another_size_are_refused(evaluate, image_store):
    with pytest.raises(ConfigError, match=r"`images` must be of the pipeline's size.*\(16, 24\).*got \(\(16, 16\)"):
        evaluate(images=image_store)


def test_images_of_other_classes_are_refused(evaluate, real_images):
    with pytest.raises(ConfigError, match=r"`images` must be in the pipeline's classes \(cat, dog\), got dog, cat"):
        evaluate(images=dataclasses.replace(real_images, classes=("dog", "cat")))


def test_damaged_results_are_named(evaluate, tmp_path):
    evaluate().run(["likelihood"])
    (tmp_path / "evaluation" / "measured" / "likelihood.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"likelihood.json is not readable .*; delete it, to measure it again"):
        evaluate().run(["likelihood"])


def test_networks_of_one_name_are_refused(evaluate, network):
    with pytest.raises(ConfigError, match="`networks` must have names that differ, got Colours, Colours, Classifier"):
        evaluate(networks=[network, network])


def test_a_network_s_name_can_be_part_of_a_file_s(network):
    with pytest.raises(ConfigError, match="`name` must be of letters, digits, dots and hyphens, got 'google/vit'"):
        dataclasses.replace(network, name="google/vit")


def test_precision_by_score_is_printed(evaluate, tmp_path):
    evaluate().run(["dial"])
    script = Path(__file__).parents[2] / "benchmarks" / "rejection.py"
    command = [sys.executable, script, tmp_path / "evaluation", "--bands=4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    header, _, *bands = done.stdout.splitlines()
    assert header == "| scores | precision, classifier | precision, colours |"
    assert len(bands) == 4
