"""Measure a finished run on its held-out images, and draw what it shows."""

from __future__ import annotations

import json

from vqvae2.config import EvaluationConfig
from vqvae2.evaluation.bench import Bench, EvaluationSubject, full_float32
from vqvae2.evaluation.examples import draw_completions, draw_reconstructions, draw_samples
from vqvae2.evaluation.likelihood import measure_likelihood
from vqvae2.evaluation.reconstruction import measure_errors
from vqvae2.metrics.measurements import versions
from vqvae2.metrics.results import RESULTS_FILE, Pictures, Results, SkippedFile, TrainingResult
from vqvae2.models.checkpoint import MODEL_FILE, read_model_file
from vqvae2.runs.run import Run

__all__ = ["measure_run"]


def measure_run(run: Run) -> Results:
    """Measure a run whose priors are trained, draw samples and completions, and write `results.json`.

    Images are made by the default decoder. Beside the results appear `reconstructions.png` (one column per image: the
    original, then from the top alone, ..., from all levels, this by each decoder), `completions.png` (one column per
    image: the original, what was given of it, and variants, first with the lower half hidden and then with the lower
    levels), and a picture of samples per class in `samples/`.
    """
    images, codes = run.images(), run.codes()
    validation = images.indices("validation")
    resize = f"{run.config.images.resize}, Lanczos"
    bench = Bench(
        subject=EvaluationSubject(pipeline=run.pipeline(), images=images, data_name=run.directory.name, resize=resize),
        directory=run.directory,
        config=EvaluationConfig(),
        runtime=run.runtime,
        listener=run.listener,
    )
    with full_float32(), run.stage("measure", f"{len(validation)} validation images"):
        reconstruction = measure_errors(bench, validation)
        likelihood = measure_likelihood(bench, codes, validation)
    with run.stage("sample", f"{run.config.num_samples} images"):
        samples = draw_samples(bench, run.config.num_samples)
    completions = draw_completions(bench, run.stage)
    reconstructions = draw_reconstructions(bench, codes)
    results = Results(
        pipeline=bench.subject.fingerprints,
        decoder=bench.subject.pipeline.config.default_decoder,
        reconstruction=reconstruction,
        likelihood=likelihood,
        trainings=_trainings(run),
        pictures=Pictures(
            image_size=images.size, reconstructions=reconstructions, samples=samples, completions=completions
        ),
        num_images=bench.subject.counts(),
        skipped_files=tuple(SkippedFile(name, reason) for name, reason in images.skipped),
        seconds=dict(run.record.seconds),
        versions=versions(),
        machine=bench.machine(),
        config=json.loads(json.dumps(run.config.to_dict())),
    )
    results.write(run.directory / RESULTS_FILE)
    return results


def _trainings(run: Run) -> dict[str, TrainingResult]:
    found = {}
    for stage in run.training_stages[run.config.freeze_tokenizer :]:
        *_, last = (stage.directory / "log.jsonl").read_text().splitlines()
        found[stage.name] = TrainingResult(
            planned_steps=run.record.steps[stage.name],
            last_step=int(json.loads(last)["step"]),
            best_step=int(read_model_file(stage.directory / MODEL_FILE).metadata["step"]),
        )
    return found
