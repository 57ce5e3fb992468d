"""An evaluation: one folder in which a pipeline is measured as the paper measures it, step by step.

What is measured once is kept, and each step goes on where it was stopped::

    evaluation.json               of which pipeline, images and config this is
    samples/ reconstructions/     the images that are compared, as stores
    codes/                        of all images
    features/                     what the networks see in the images, by fingerprint
    classifiers/                  trained on real images, reconstructions and samples
    measured/                     the numbers of each step
    results.json                  all numbers
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vqvae2.config import EVALUATION_METRICS, EvaluationConfig, EvaluationMetric
from vqvae2.data import Images
from vqvae2.errors import CheckpointError, ConfigError, DataError, OutputError
from vqvae2.evaluation.feature_network import FeatureNetwork
from vqvae2.evaluation.judges import EvaluationNetworks
from vqvae2.evaluation.measures import (
    Bench,
    measure_accuracies,
    measure_dial,
    measure_errors,
    measure_likelihood,
    measure_memorizations,
    measure_qualities,
)
from vqvae2.evaluation.protocol import Protocol
from vqvae2.evaluation.sets import EvaluationSets
from vqvae2.models.checkpoint import fingerprint
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.system.atomic import atomic_write_bytes
from vqvae2.system.json_files import read_json
from vqvae2.system.processes import first_decides, is_first_process
from vqvae2.system.progress import Listener, Silence
from vqvae2.training.task import Runtime

__all__ = ["Evaluation", "is_of_evaluation"]

_RECORD, _RESULTS = "evaluation.json", "results.json"
_MAX_RESULT_BYTES = 16 * 2**20
_BY_NETWORK: tuple[EvaluationMetric, ...] = ("quality", "dial", "memorization")
_MAGIC, _VERSION = "vqvae2.evaluation", 1

_FOLDERS = ("samples", "reconstructions", "codes", "features", "classifiers", "measured", "images")
_FILES = (_RECORD, _RESULTS, "report.html", "dial.png")


def is_of_evaluation(path: Path) -> bool:
    """Tell whether a file or folder, by its name, is what an evaluation leaves in its folder, half made or whole."""
    name = path.name
    is_half_made = name.startswith(".") and any(name.startswith(f".{own}.") for own in (*_FOLDERS, *_FILES))
    return is_half_made or name in (*_FOLDERS, *_FILES) or (name.startswith("memorization-") and path.suffix == ".png")


class Evaluation:
    """One folder of an evaluation.

    Args:
        pipeline: What is evaluated, on the runtime's device.
        images: Real images of the pipeline's size, which it was trained on or could have been.
        directory: A new folder, or that of the same evaluation.
        config: How to measure.
        networks: In whose features sets of images are compared.
        with_classifier: Whether they are also compared in the features of the classifier that is trained on real
            images, if these have classes.
        rejection_classifier: Scores samples for rejection, on the runtime's device; None trains one on real images.
        data_name: Where the images come from, in words, for the protocol.
        resize: How they got their size, in words, for the protocol.
        runtime: Where and how to compute.
        listener: Is told what happens; None for silence.

    Raises:
        ConfigError: If the images do not fit the pipeline, or two networks have one name.
        OutputError: If the folder holds another evaluation.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        images: Images,
        directory: Path,
        *,
        config: EvaluationConfig,
        networks: Sequence[FeatureNetwork] = (),
        with_classifier: bool = True,
        rejection_classifier: nn.Module | None = None,
        data_name: str,
        resize: str,
        runtime: Runtime,
        listener: Listener | None = None,
    ) -> None:
        _check_images(pipeline, images)
        names = [network.name for network in networks] + ["Classifier"] * with_classifier
        if len(set(names)) < len(names):
            raise ConfigError(f"`networks` must have names that differ, got {', '.join(names)}; rename one")
        listener = listener or Silence()
        for network in networks:
            network.module.to(runtime.device)
        sets = EvaluationSets(pipeline, images, directory, config, listener)
        has_labels_to_test = bool((images.labels[sets.validation] >= 0).any())
        self._has_classes = len(images.classes) >= 2 and len(sets.labelled) > 0 and has_labels_to_test
        self._bench = Bench(
            pipeline=pipeline,
            images=images,
            directory=directory,
            config=config,
            sets=sets,
            networks=EvaluationNetworks(
                sets,
                directory,
                config,
                given=networks,
                with_judge=with_classifier and self._has_classes,
                rejection_classifier=rejection_classifier,
                runtime=runtime,
                listener=listener,
            ),
            protocol=Protocol(
                reference=f"training images of {data_name}",
                reference_fingerprint=sets.reference.fingerprint,
                num_reference=sets.reference.num_images,
                num_images=sets.num_compared,
                image_size=images.size,
                resize=resize,
            ),
            runtime=replace(runtime, bfloat16=False),
            listener=listener,
        )
        first_decides(lambda: self._begin(rejection_classifier))

    def run(self, metrics: Sequence[EvaluationMetric] | None = None) -> dict[str, Any]:
        """Measure, or find measured, and write `results.json`.

        Args:
            metrics: Which; None takes all that apply, and says why others do not.

        Returns:
            The results by metric, then what was left out and why, counts, pipeline, config and machine.

        Raises:
            ConfigError: If a metric that is asked for does not apply to this pipeline.
            DataError: If there are too few images for one that is asked for.
        """
        measures: dict[EvaluationMetric, Callable[[], dict[str, Any]]] = {
            "reconstruction": lambda: self._once("reconstruction", measure_errors),
            "likelihood": lambda: self._once("likelihood", measure_likelihood),
            "quality": lambda: self._for_each_network("quality", measure_qualities),
            "accuracy": lambda: self._once("accuracy", measure_accuracies),
            "dial": lambda: self._for_each_network("dial", measure_dial),
            "memorization": lambda: self._for_each_network("memorization", measure_memorizations),
        }
        results: dict[str, Any] = {}
        left_out: dict[str, str] = {}
        unknown = [metric for metric in metrics or () if metric not in measures]
        if unknown:
            raise ConfigError(f"`metrics` must be some of {', '.join(measures)}, got {unknown[0]!r}")
        for metric in EVALUATION_METRICS if metrics is None else metrics:
            reason = self._reason_against(metric)
            if reason is not None:
                if metrics is not None:
                    raise ConfigError(reason)
                left_out[metric] = reason
                continue
            try:
                # TensorFloat-32, which convolutions of recent GPUs take by default, would be another float32.
                with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                    results[metric] = measures[metric]()
            except DataError as error:  # too few images
                if metrics is not None:
                    raise
                left_out[metric] = str(error)
        results = first_decides(lambda: self._with_earlier(results))
        results |= {
            "left_out": left_out,
            "num_images": self._counts(),
            "pipeline": self._parts(),
            "config": self._config(),
            "machine": self._machine(),
        }
        if is_first_process():
            atomic_write_bytes(self._bench.directory / _RESULTS, (json.dumps(results, indent=2) + "\n").encode())
        return results

    def _with_earlier(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add what earlier calls measured of other metrics, and in features of other networks."""
        path = self._bench.directory / _RESULTS
        earlier = _read_json(path) if path.exists() else {}
        together: dict[str, Any] = {}
        for metric in EVALUATION_METRICS:
            values = results.get(metric)
            if values is None or metric in _BY_NETWORK:
                values = earlier.get(metric, {}) | (values or {})
            if values:
                together[metric] = values
        return together

    def _reason_against(self, metric: EvaluationMetric) -> str | None:
        """Say why a metric does not apply; None if it does."""
        pipeline = self._bench.pipeline
        if metric in ("likelihood", "dial", "memorization") and not pipeline.priors:
            return f"`{metric}` needs priors, and the pipeline has none; train one for every level"
        if metric == "dial" and not pipeline.config.classes:
            return (
                "`dial` needs samples of intended classes, and the pipeline was trained without; "
                "train it on images in folders, one a class"
            )
        if metric in ("accuracy", "dial") and not self._has_classes:
            return f"`{metric}` needs images with labels, and these have none; sub-folders are classes"
        if metric in ("quality", "dial", "memorization") and not self._bench.networks:
            return f"`{metric}` needs a feature network, got none; give one, or images in folders by class"
        return None

    def _for_each_network(self, metric: str, measure: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        measured = {}
        for network in self._bench.networks.all():
            name = f"{metric}-{network.key}"
            measured[network.name] = self._once(name, functools.partial(measure, network=network))
        return measured

    def _once(self, name: str, measure: Callable[[Bench], dict[str, Any]]) -> dict[str, Any]:
        """Measure, or read what was measured before."""
        path = self._bench.directory / "measured" / f"{name}.json"
        earlier = first_decides(lambda: _read_json(path) if path.exists() else None)
        if earlier is not None:
            self._bench.listener.stage(name, "done before")
            return earlier
        start = time.perf_counter()
        values = measure(self._bench) | {"seconds": time.perf_counter() - start}
        if is_first_process():
            path.parent.mkdir(exist_ok=True)
            atomic_write_bytes(path, (json.dumps(values, indent=2) + "\n").encode())
        return values

    def _counts(self) -> dict[str, int]:
        sets = self._bench.sets
        return {
            "train": len(sets.training),
            "validation": len(sets.validation),
            "samples": sets.num_samples if self._bench.pipeline.priors else 0,
            "compared": sets.num_compared,
        }

    def _parts(self) -> dict[str, Any]:
        """Fingerprints of what is evaluated."""
        pipeline = self._bench.pipeline
        return {"tokenizer": fingerprint(pipeline.tokenizer), "priors": [fingerprint(part) for part in pipeline.priors]}

    def _config(self) -> dict[str, Any]:
        """Give the config as it will be read, where arrays are lists."""
        config: dict[str, Any] = json.loads(json.dumps(self._bench.config.to_dict()))
        return config

    def _machine(self) -> dict[str, Any]:
        return {"device": str(self._bench.runtime.device), "threads": torch.get_num_threads()}

    def _begin(self, rejection_classifier: nn.Module | None) -> None:
        """Write down what this is an evaluation of, or check that the folder holds the same one."""
        bench = self._bench
        record = {
            "magic": _MAGIC,
            "version": _VERSION,
            "pipeline": self._parts(),
            "rejection_classifier": None if rejection_classifier is None else fingerprint(rejection_classifier),
            "images": bench.images.fingerprint(np.arange(bench.images.num_images)),
            "labels": _hash(bench.images.labels, bench.images.is_validation),
            "config": self._config() | {"batch_size": None},  # with another, only last bits of the numbers differ
        }
        path = bench.directory / _RECORD
        if path.exists():
            earlier = _read_json(path)
            changed = [name for name, value in record.items() if earlier.get(name) != value]
            if changed:
                raise OutputError(
                    f"{bench.directory} holds an evaluation with another {' and '.join(changed)}; "
                    "choose another folder, or use --force to begin anew"
                )
            return
        bench.directory.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(path, json.dumps(record, indent=2).encode())


def _check_images(pipeline: Pipeline, images: Images) -> None:
    config, channels = pipeline.config, pipeline.tokenizer.config.in_channels
    if (images.size, images.channels, images.bit_depth) != (config.image_size, channels, config.bit_depth):
        raise ConfigError(
            f"`images` must be of the pipeline's size, channels and bit depth ({config.image_size}, {channels}, "
            f"{config.bit_depth}), got ({images.size}, {images.channels}, {images.bit_depth}); prepare them again"
        )
    if config.classes and images.classes and images.classes != config.classes:
        raise ConfigError(
            f"`images` must be in the pipeline's classes ({', '.join(config.classes)}), "
            f"got {', '.join(images.classes)}; name their folders so"
        )


def _hash(*arrays: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path, max_bytes=_MAX_RESULT_BYTES, allow_nan=True)  # a score of few images may be none
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable ({error}); delete it, to measure it again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} does not hold results; delete it, to measure them again")
    return values
