"""An evaluation: one folder in which a pipeline is measured as the paper measures it, step by step.

What is measured is kept, and each step resumes where it was stopped::

    evaluation.json               which pipeline, images and config this is an evaluation of
    samples/ reconstructions/     the images that are compared, as stores
    codes/                        of all images
    features/                     what the networks see in the images, by fingerprint
    classifiers/                  trained on real images, reconstructions and samples
    results.json                  all numbers, see `Results`; written after each step
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vqvae2.config import EVALUATION_METRICS, EvaluationConfig, EvaluationMetric, require_same_config
from vqvae2.data import CodeStore
from vqvae2.data.summary import SUMMARY_FILE
from vqvae2.errors import CheckpointError, ConfigError, DataError
from vqvae2.evaluation.bench import Bench, EvaluationSubject, full_float32
from vqvae2.evaluation.judges import Judges
from vqvae2.evaluation.likelihood import measure_likelihood
from vqvae2.evaluation.measures import measure_accuracies, measure_dial, measure_memorizations, measure_qualities
from vqvae2.evaluation.networks import EvaluationNetworks, FeatureNetwork
from vqvae2.evaluation.reconstruction import measure_errors
from vqvae2.metrics.measurements import LikelihoodResult, versions
from vqvae2.metrics.results import RESULTS_FILE, Results
from vqvae2.models.checkpoint import fingerprint
from vqvae2.system.files import atomic_write_bytes, read_json
from vqvae2.system.processes import first_decides, is_first_process
from vqvae2.system.progress import Listener
from vqvae2.training.extraction import extract_codes
from vqvae2.training.task import Runtime

__all__ = ["METRICS_BY_NETWORK", "Evaluation", "is_of_evaluation"]

_RECORD = "evaluation.json"
_MAGIC, _VERSION = "vqvae2.evaluation", 1
METRICS_BY_NETWORK: dict[EvaluationMetric, Callable[[Judges, FeatureNetwork], Any]] = {
    "quality": measure_qualities,
    "dial": measure_dial,
    "memorization": measure_memorizations,
}

_MIN_COMPARED = 4  # of which each has three neighbours
# `measured` is what older versions left, and `drawn` what a search for sampling settings is drawing.
_FOLDERS = ("samples", "reconstructions", "codes", "features", "classifiers", "measured", "images", "drawn")
_FILES = (_RECORD, RESULTS_FILE, SUMMARY_FILE, "report.html", "dial.png")


def is_of_evaluation(path: Path) -> bool:
    """Tell by its name whether an evaluation leaves such a file or folder in its folder, half made or whole."""
    name = path.name
    is_half_made = name.startswith(".") and any(name.startswith(f".{own}.") for own in (*_FOLDERS, *_FILES))
    return is_half_made or name in (*_FOLDERS, *_FILES) or (name.startswith("memorization-") and path.suffix == ".png")


class Evaluation:
    """One folder of an evaluation.

    Args:
        subject: The pipeline that is evaluated, with real images.
        directory: A new folder, or that of the same evaluation.
        config: How to measure.
        networks: Which networks judge.
        runtime: Where and how to compute.
        listener: Is told what happens; None for silence.

    Raises:
        OutputError: If the folder holds another evaluation.
    """

    def __init__(
        self,
        subject: EvaluationSubject,
        directory: Path,
        config: EvaluationConfig,
        networks: EvaluationNetworks | None = None,
        *,
        runtime: Runtime,
        listener: Listener | None = None,
    ) -> None:
        sampling = config.sampling or subject.pipeline.config.sampling
        config = replace(config, sampling=sampling)  # so that record and results always say it
        self._bench = Bench(
            subject=subject, directory=directory, config=config, runtime=runtime, listener=listener or Listener()
        )
        networks = networks or EvaluationNetworks()
        self._judges = Judges(self._bench, networks)
        first_decides(lambda: self._begin(networks))

    def run(self, metrics: Sequence[EvaluationMetric] | None = None) -> Results:
        """Measure what was not measured before, and write `results.json`.

        Args:
            metrics: Which; None takes all that apply, and says why others do not.

        Returns:
            All results of the folder.

        Raises:
            ConfigError: If a metric that is asked for does not apply to this pipeline.
            DataError: If there are too few images for one that is asked for.
            CheckpointError: If the folder holds damaged results, or those of an older format.
        """
        unknown = [metric for metric in metrics or () if metric not in EVALUATION_METRICS]
        if unknown:
            raise ConfigError(f"`metrics` must be some of {', '.join(EVALUATION_METRICS)}, got {unknown[0]!r}")
        results = first_decides(self._earlier_results)
        if self._bench.sampling is not None:
            self._bench.listener.say(f"samples are drawn with {self._bench.sampling.in_words}")
        left_out: dict[str, str] = {}
        for metric in EVALUATION_METRICS if metrics is None else metrics:
            reason = self._reason_against(metric)
            if reason is not None and metrics is not None:
                raise ConfigError(reason)
            if reason is None:
                try:
                    with full_float32():
                        for network in self._judges.all() if metric in METRICS_BY_NETWORK else [None]:
                            results = self._measure(metric, network, results)
                except DataError as error:  # too few images
                    if metrics is not None:
                        raise
                    reason = str(error)
            if reason is not None:
                left_out[metric] = reason
        results = replace(results, left_out=left_out)
        self._write(results)
        return results

    def _earlier_results(self) -> Results:
        """Read what the folder holds; the circumstances are those of this call."""
        bench, sets = self._bench, self._judges.sets
        new = Results(
            pipeline=bench.subject.fingerprints,
            decoder=bench.subject.pipeline.config.default_decoder,
            num_images=bench.subject.counts(
                samples=sets.num_samples if bench.subject.pipeline.priors else 0, compared=sets.num_compared
            ),
            versions=versions(),
            machine=bench.machine(),
            config=_as_json(bench.config.to_dict()),
        )
        path = bench.directory / RESULTS_FILE
        return new.merged_with(Results.read(path)) if path.exists() else new

    def _reason_against(self, metric: EvaluationMetric) -> str | None:
        """Say what a metric needs that the pipeline, the images or the networks lack; None if it applies."""
        pipeline = self._bench.subject.pipeline
        if metric in ("likelihood", "dial", "memorization") and not pipeline.priors:
            return f"`{metric}` needs priors, and the pipeline has none; train one for every level"
        if metric == "dial" and not pipeline.config.classes:
            return (
                "`dial` needs samples of intended classes, and the pipeline was trained without; "
                "train it on images in folders, one per class"
            )
        if metric in ("accuracy", "dial") and not self._judges.sets.has_classes:
            return f"`{metric}` needs images with labels, and these have none; sub-folders are classes"
        sets = self._judges.sets
        if metric in ("quality", "dial") and sets.num_compared < _MIN_COMPARED:
            return (
                f"`{metric}` needs at least {_MIN_COMPARED} held-out images and as many samples, got "
                f"{len(sets.validation)} and {sets.num_samples}; hold more images out (`images.validation_fraction`)"
            )
        if metric in METRICS_BY_NETWORK and not self._judges:
            return f"`{metric}` needs a feature network, got none; give one, or images in folders by class"
        return None

    def _measure(self, metric: EvaluationMetric, network: FeatureNetwork | None, results: Results) -> Results:
        """Measure a metric that the results lack, and write it down with its time."""
        name = metric if network is None else f"{metric}, {network.name}"
        measured = getattr(results, metric)
        earlier = measured if network is None else measured.get(network.name)
        if earlier is not None and (network is None or network.is_behind(earlier.protocol)):
            self._bench.listener.stage(name, "done before")
            return results
        start = time.perf_counter()
        if network is not None:
            found = measured | {network.name: METRICS_BY_NETWORK[metric](self._judges, network)}
        elif metric == "accuracy":
            found = measure_accuracies(self._judges)
        elif metric == "likelihood":
            found = self._measure_likelihood()
        else:
            sets = self._judges.sets
            found = measure_errors(self._bench, sets.validation, sets.training[: len(sets.validation)])
        seconds = results.seconds | {name: time.perf_counter() - start}
        results = replace(results, seconds=seconds, **{metric: found})
        self._write(results)
        return results

    def _measure_likelihood(self) -> LikelihoodResult:
        bench, directory = self._bench, self._bench.directory / "codes"
        if not first_decides(directory.exists):
            bench.listener.stage("extract codes", f"{bench.subject.images.num_images} images")
            extract_codes(
                bench.subject.pipeline.tokenizer,
                bench.subject.images,
                directory,
                batch_size=bench.config.batch_size,
                on_progress=bench.counter("images"),
            )
        return measure_likelihood(bench, CodeStore.open(directory), self._judges.sets.validation)

    def _write(self, results: Results) -> None:
        if is_first_process():
            results.write(self._bench.directory / RESULTS_FILE)

    def _begin(self, networks: EvaluationNetworks) -> None:
        """Write down what this is an evaluation of, or check that the folder holds the same one."""
        bench, images = self._bench, self._bench.subject.images
        rejection = networks.rejection_classifier
        record = _as_json(
            {
                "magic": _MAGIC,
                "version": _VERSION,
                "decoder": bench.subject.pipeline.config.default_decoder,
                "pipeline": asdict(bench.subject.fingerprints),
                "rejection_classifier": None if rejection is None else fingerprint(rejection),
                "images": images.fingerprint(np.arange(images.num_images)),
                "labels": _hash(images.labels, images.is_validation),
                "config": bench.config.to_dict() | {"batch_size": None},  # another one only moves the last bits
            }
        )
        path = bench.directory / _RECORD
        if not path.exists():
            bench.directory.mkdir(parents=True, exist_ok=True)
            atomic_write_bytes(path, json.dumps(record, indent=2).encode())
            return
        try:
            earlier = {"decoder": "faithful", **read_json(path)}  # as in records of the time when there was no other
            earlier["pipeline"] = {"sharp_decoder": "", **earlier["pipeline"]}
            require_same_config(f"{bench.directory} holds an evaluation", earlier, record)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); use --force to begin anew") from error


def _as_json(values: dict[str, Any]) -> Any:
    """Give values as they will be read, where tuples are lists."""
    return json.loads(json.dumps(values))


def _hash(*arrays: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()
