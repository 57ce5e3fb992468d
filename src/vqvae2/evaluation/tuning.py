"""The search for sampling settings: which of them draw images most like held-out ones, and what that costs.

The folder of a search holds::

    results.json    the table of all settings that were tried, see `TuningResult`; written after each of them
    features/       what the network sees in held-out images
    drawn/          images of the settings that are being tried, until their scores are in the table
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vqvae2.config import EvaluationConfig, SamplingConfig, TuningConfig, require_same_config
from vqvae2.errors import ConfigError
from vqvae2.evaluation.bench import Bench, EvaluationSubject, full_float32
from vqvae2.evaluation.judges import Judges
from vqvae2.evaluation.measures import measure_quality
from vqvae2.evaluation.networks import EvaluationNetworks, FeatureNetwork
from vqvae2.metrics.measurements import CandidateScores, TuningResult, versions
from vqvae2.metrics.results import RESULTS_FILE, Results
from vqvae2.system.processes import first_decides, is_first_process
from vqvae2.system.progress import Listener
from vqvae2.training.task import Runtime

__all__ = ["tune_sampling"]


def tune_sampling(
    subject: EvaluationSubject,
    directory: Path,
    config: TuningConfig,
    network: FeatureNetwork,
    *,
    runtime: Runtime,
    listener: Listener | None = None,
) -> Results:
    """Find the temperature and top-p of each level whose images lie nearest to held-out images.

    The search begins with temperature 1 and top-p 1 on all levels. Level by level, the top first, it tries each pair of
    the config on that level alone, and keeps the settings of the lowest distance so far. Top-k and guidance stay as the
    pipeline has them. All settings draw the same images of one seed, so they differ by the settings alone.

    A search that was stopped resumes, and another one in the same folder tries only what is new. The pipeline stays as
    it is: the result is for its `config.sampling`.

    Args:
        subject: The pipeline, with real images.
        directory: A new folder, or that of an earlier search.
        config: What to try.
        network: Compares images.
        runtime: Where to compute.
        listener: Is told what happens; None for silence.

    Returns:
        Results whose `tuning` holds the table, by the network's name.

    Raises:
        ConfigError: If the pipeline has no priors.
        DataError: If there are too few held-out images.
        OutputError: If the folder holds a search for another pipeline, or with other held-out images or another seed.
        CheckpointError: If its results are damaged.
    """
    if not subject.pipeline.priors:
        raise ConfigError("`subject.pipeline` must have priors to draw with, got none; train one for every level")
    count = min(config.num_images, len(subject.images.indices("validation")))
    measuring = EvaluationConfig(num_samples=count, num_images=count, batch_size=config.batch_size, seed=config.seed)
    bench = Bench(
        subject=subject, directory=directory, config=measuring, runtime=runtime, listener=listener or Listener()
    )
    with full_float32():
        return _Search(bench, config, network).run()


class _Search:
    """Scores settings, each once, and writes the table after each of them."""

    def __init__(self, bench: Bench, config: TuningConfig, network: FeatureNetwork) -> None:
        self._bench, self._config, self._network = bench, config, network
        own, num_levels = bench.subject.pipeline.config.sampling, bench.subject.pipeline.tokenizer.config.num_levels
        self._plain = replace(own, temperature=(1.0,) * num_levels, top_p=(1.0,) * num_levels)
        judges = self._judges(bench)
        held_out = judges.sets.held_out
        reference = f"validation images of {bench.subject.data_name}"
        protocol = bench.protocol(reference, held_out, num_images=held_out.num_images, network=network)
        table = TuningResult(candidates=(), chosen=self._plain, protocol=protocol)
        self._results = first_decides(lambda: self._resume(table))
        self._held_out = judges.features(network, held_out)

    def run(self) -> Results:
        """Try what is to be tried, level by level."""
        best = self._score(self._plain)
        for level in range(len(self._plain.temperature)):
            tried = [best]
            for temperature, top_p in itertools.product(self._config.temperatures, self._config.top_p_values):
                settings = replace(
                    best.sampling,
                    temperature=_with(best.sampling.temperature, level, temperature),
                    top_p=_with(best.sampling.top_p, level, top_p),
                )
                if settings != best.sampling:
                    tried.append(self._score(settings))
            best = min(tried, key=lambda scores: scores.kernel_distance)
        return self._keep(chosen=best.sampling)

    def _score(self, settings: SamplingConfig) -> CandidateScores:
        """Measure images that some settings draw, unless the table has them."""
        bench = self._bench
        bench.listener.stage("settings", settings.in_words)
        scores = self._table.scores_of(settings)
        if scores is None:
            # Each has a folder of its own: a search that was stopped must not resume drawing with others.
            name = re.sub(r"[^\w.]+", "-", settings.in_words)
            judges = self._judges(
                replace(
                    bench, directory=bench.directory / "drawn" / name, config=replace(bench.config, sampling=settings)
                )
            )
            found = judges.features(self._network, judges.sets.sampled)
            measured = measure_quality(found, self._held_out, device=bench.runtime.device)
            scores = CandidateScores(sampling=settings, **asdict(measured))
            first_decides(lambda: shutil.rmtree(bench.directory / "drawn"))
            self._keep(candidates=(*self._table.candidates, scores))
        bench.listener.say(
            f"  Fréchet distance {scores.frechet_distance:.4g}, kernel distance {scores.kernel_distance:.4g}, "
            f"precision {scores.precision:.4g}, recall {scores.recall:.4g}"
        )
        return scores

    def _judges(self, bench: Bench) -> Judges:
        return Judges(bench, EvaluationNetworks(given=(self._network,), with_classifier=False))

    @property
    def _table(self) -> TuningResult:
        return self._results.tuning[self._network.name]

    def _keep(self, **changes: Any) -> Results:
        """Change the table, and write it down."""
        table = replace(self._table, **changes)
        self._results = replace(self._results, tuning=self._results.tuning | {self._network.name: table})
        if is_first_process():
            self._results.write(self._bench.directory / RESULTS_FILE)
        return self._results

    def _resume(self, table: TuningResult) -> Results:
        """Begin a table, or take over the scores of an earlier search; write what this is a search for."""
        bench, count = self._bench, table.protocol.num_images
        results = Results(
            pipeline=bench.subject.fingerprints,
            decoder=bench.subject.pipeline.config.default_decoder,
            tuning={self._network.name: table},
            num_images=bench.subject.counts(samples=count, compared=count),
            versions=versions(),
            machine=bench.machine(),
            config=json.loads(json.dumps(self._config.to_dict())),
        )
        path = bench.directory / RESULTS_FILE
        if path.exists():
            earlier = Results.read(path)
            require_same_config(f"{bench.directory} holds results", _compared(earlier), _compared(results))
            known = earlier.tuning.get(self._network.name)
            if known is not None and self._network.is_behind(known.protocol):
                table = replace(table, candidates=known.candidates)
            results = replace(results, tuning=earlier.tuning | {self._network.name: table})
        bench.directory.mkdir(parents=True, exist_ok=True)
        results.write(path)
        return results


def _compared(results: Results) -> dict[str, Any]:
    """Give what must be the same for the scores of two searches to compare."""
    held_out = {table.protocol.reference_fingerprint for table in results.tuning.values()}
    return {
        "decoder": results.decoder,
        "pipeline": asdict(results.pipeline),
        "seed": results.config.get("seed"),
        "num_images": results.num_images.compared,
        "held_out_images": sorted(held_out),
    }


def _with(values: tuple[float, ...], level: int, value: float) -> tuple[float, ...]:
    """Replace the value of one level."""
    return (*values[:level], value, *values[level + 1 :])
