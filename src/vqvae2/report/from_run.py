"""Measure a finished run, and gather what its report shows."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqvae2.data import CodeStore, Images
from vqvae2.evaluation.held_out import measure_reconstruction
from vqvae2.evaluation.likelihood import bits_per_image, measure_likelihoods
from vqvae2.images import crop_to, from_pixels, image_grid, save_png, to_pixels
from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.models.checkpoint import MODEL_FILE, read_model_file
from vqvae2.pipeline.pipeline import TOKENIZER_FOLDER, Pipeline
from vqvae2.report.data import Completions, ReportData
from vqvae2.report.page import write_report
from vqvae2.runs.run import Run
from vqvae2.sampling.completion import hide_pixels, mask_below
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.system.version import __version__

__all__ = ["write_run_report"]

_SHOWN_IMAGES = 12
_COMPLETED_IMAGES, _VARIANTS = 6, 3
_MOST_CLASSES = 20


def write_run_report(run: Run, *, next_steps: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Measure a run on its validation images, draw samples, and write it all down.

    Writes `report.html`, `results.json`, `reconstructions.png` (a column an image: the original, then from the top
    alone, ..., from all levels), `completions.png` (a column an image: the original, what was given of it, and
    variants, first with the lower half hidden and then with the lower levels), and a picture of samples for each class
    in `samples/`.

    Args:
        run: With tokenizer, codes and all priors trained.
        next_steps: Commands that the report suggests.

    Returns:
        Path of the report, and the results.
    """
    images, codes, pipeline = run.images(), run.codes(), run.pipeline()
    with run.stage("measure", f"{len(images.indices('validation'))} validation images"):
        results, usages = _measure(run, images, codes, pipeline)
    with run.stage("sample", f"{run.config.num_samples} images"):
        samples = _sample(run, pipeline)
    completions = _complete(run, images, pipeline)
    shown = _spread(images.indices("validation"), _SHOWN_IMAGES)
    originals, shown_codes = images.read(shown), codes.batch(shown)
    partial_reconstructions = [
        _to_pixels(crop_to(pipeline.decode(shown_codes, levels=levels), *images.size), pipeline)
        for levels in range(1, run.num_levels + 1)
    ]
    rows = np.concatenate([originals, *partial_reconstructions])
    save_png(image_grid(rows, columns=len(shown)), run.directory / "reconstructions.png")
    results["seconds"] = dict(run.record.seconds)
    data = ReportData(
        title=f"vqvae2 run: {run.directory.resolve().name}",
        results=results,
        tokenizer_curve=_read_log(run.directory / TOKENIZER_FOLDER / "log.jsonl"),
        prior_curves=[_read_log(run.prior_directory(level) / "log.jsonl") for level in range(run.num_levels)],
        level_names=run.config.tokenizer.level_names,
        originals=originals,
        partial_reconstructions=partial_reconstructions,
        code_maps=[level.numpy() for level in shown_codes],
        num_embeddings=codes.num_embeddings,
        code_counts=[usage.counts.cpu().numpy() for usage in usages],
        samples=samples,
        completions=completions,
        config=run.config.to_dict(),
        next_steps=next_steps,
    )
    return write_report(data, run.directory), results


def _measure(
    run: Run, images: Images, codes: CodeStore, pipeline: Pipeline
) -> tuple[dict[str, Any], Sequence[CodebookUsage]]:
    validation = images.indices("validation")
    measured = measure_reconstruction(pipeline.tokenizer, images, validation)
    exact = replace(run.runtime, bfloat16=False)  # as codes are extracted, whatever the training computed in
    likelihoods = measure_likelihoods(pipeline.priors, codes, runtime=exact)
    levels = [
        {
            "name": run.config.tokenizer.level_names[level],
            "shape": list(codes.shapes[level]),
            "num_embeddings": codes.num_embeddings[level],
            "usage": usage.usage,
            "perplexity": usage.perplexity,
            "mse_down_to_here": error.mse,
            **likelihood.to_dict(),
        }
        for level, (error, usage, likelihood) in enumerate(
            zip(measured.errors, measured.usages, likelihoods, strict=True)
        )
    ]
    bits = bits_per_image([likelihood.validation_nats_per_code for likelihood in likelihoods], codes.shapes)
    results = {
        "validation": measured.to_dict(),
        "levels": levels,
        "bits_per_pixel": bits / math.prod(images.size),
        "bits_per_dim": bits / (images.channels * math.prod(images.size)),
        "compression_ratio": images.bit_depth * images.channels * math.prod(images.size) / bits,
        "trainings": _trainings(run),
        "num_images": {
            "train": len(images.indices("train")),
            "validation": len(validation),
            "skipped": len(images.skipped),
        },
        "skipped_files": [{"file": name, "reason": reason} for name, reason in images.skipped],
        "versions": {"vqvae2": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {
            "device": str(run.runtime.device),
            "threads": torch.get_num_threads(),
            "processor": platform.machine(),
            "bfloat16": run.runtime.bfloat16,
        },
    }
    return results, measured.usages


def _trainings(run: Run) -> dict[str, dict[str, int]]:
    """How far each training of a run went, and which step's model it kept."""
    steps: dict[str, dict[str, int]] = {}
    for stage in run.training_stages:
        model = read_model_file(stage.directory / MODEL_FILE)
        steps[stage.name] = {
            "planned_steps": run.record.steps[stage.name],
            "last_step": int(_read_log(stage.directory / "log.jsonl")[-1]["step"]),
            "best_step": int(model.metadata["step"]),
        }
    return steps


def _sample(run: Run, pipeline: Pipeline) -> dict[str, np.ndarray]:
    """Draw samples, as many of each class, keep them as one picture a class, and return them by class."""
    names = pipeline.config.classes or ("all",)
    # Of very many classes, some that are evenly spread.
    classes = np.unique(np.linspace(0, len(names) - 1, _MOST_CLASSES).astype(int))
    each = max(1, run.config.num_samples // len(classes))
    folder = run.directory / "samples"
    folder.mkdir(exist_ok=True)
    samples: dict[str, np.ndarray] = {}
    hooks = Hooks.for_listener(run.listener)
    for position, label in enumerate(classes.tolist()):
        images = pipeline.sample(
            each,
            DrawRequest(first_image=position * each, label=label if pipeline.config.classes else None),
            hooks=hooks.of_batch(before=position * each, num_images=each, total_images=len(classes) * each),
        )
        samples[names[label]] = _to_pixels(images, pipeline)
        save_png(image_grid(samples[names[label]], columns=math.ceil(math.sqrt(each))), folder / f"{label:03d}.png")
    return samples


def _complete(run: Run, images: Images, pipeline: Pipeline) -> list[Completions]:
    """Draw a part of a few validation images anew: the lower half, and the levels below the top if there are any."""
    originals = images.read(_spread(images.indices("validation"), _COMPLETED_IMAGES))
    batch = from_pixels(torch.from_numpy(originals))
    mask = mask_below(images.size, 0.5)
    request, hooks = DrawRequest(num_variants=_VARIANTS), Hooks.for_listener(run.listener)

    def show(title: str, given: torch.Tensor, variants: torch.Tensor) -> Completions:
        return Completions(
            title=title,
            originals=originals,
            given=_to_pixels(given, pipeline),
            variants=[_to_pixels(variant, pipeline) for variant in variants.unbind(1)],
        )

    with run.stage("complete", f"{len(batch)} validation images"):
        drawn = pipeline.complete(batch, mask, request, hooks=hooks)
        completions = [show("The lower half is hidden", hide_pixels(batch, mask), drawn)]
    if run.num_levels > 1:
        with run.stage("vary", f"{len(batch)} validation images"):
            drawn = pipeline.vary(batch, request, hooks=hooks)
            given = pipeline.reconstruct(batch, levels=1)
            completions.append(show("All levels below the top are hidden", given, drawn))
    rows = np.concatenate([part for entry in completions for part in (entry.originals, entry.given, *entry.variants)])
    save_png(image_grid(rows, columns=len(batch)), run.directory / "completions.png")
    return completions


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    """Take at most so many of the numbers, from the first to the last."""
    return indices[np.linspace(0, len(indices) - 1, min(most, len(indices))).astype(int)]


def _to_pixels(images: torch.Tensor, pipeline: Pipeline) -> np.ndarray:
    """Turn images `(B, C, H, W)` into pixels `(B, H, W, C)` of the pipeline's bit depth."""
    return to_pixels(images, bit_depth=pipeline.config.bit_depth).cpu().numpy()


def _read_log(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
