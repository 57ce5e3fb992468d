"""One training of a run: its steps, decided once, and what the run remembers of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from vqvae2.config import TrainingConfig, level_names
from vqvae2.pipeline.folder import TOKENIZER_FOLDER, prior_folder
from vqvae2.runs.record import RunRecord
from vqvae2.system.progress import Listener
from vqvae2.training.budget import steps_that_fit, training_seconds, training_shares
from vqvae2.training.loop import fit
from vqvae2.training.task import FitResult, Runtime, Task

__all__ = ["TrainingStage", "train_stage", "training_stages"]


class TrainingStage(NamedTuple):
    """One training of a run."""

    name: str
    directory: Path
    share: float
    """Of the run's time."""


def training_stages(record: RunRecord) -> list[TrainingStage]:
    """All trainings of a run, in their order: the tokenizer's, then the priors', top first."""
    num_levels = record.config.tokenizer.num_levels
    of_tokenizer, of_priors = training_shares(num_levels)
    stages = [TrainingStage("train tokenizer", record.directory / TOKENIZER_FOLDER, of_tokenizer)]
    for level, name in enumerate(level_names(num_levels)):
        folder = record.directory / prior_folder(level, num_levels)
        stages.append(TrainingStage(f"train prior, {name}", folder, of_priors[level]))
    return stages


def train_stage(
    stage: TrainingStage,
    task: Task,
    training: TrainingConfig,
    *,
    minutes: float | None,
    record: RunRecord,
    runtime: Runtime,
    listener: Listener,
) -> FitResult:
    """Train, or go on with it, and keep steps and time in the run's record.

    Args:
        stage: Which training.
        task: What to train.
        training: How; its steps count only if there is no time to fill.
        minutes: Time to fill; None takes the stage's share of the run's, 0 the configured steps.
        record: The run's.
        runtime: Where and how to compute.
        listener: Is told what happens.
    """
    name = stage.name
    if name not in record.steps:
        record.steps[name] = _decide_steps(stage, task, training, minutes, record, runtime, listener)
        record.save()
    elif minutes is not None:
        listener.say(f"  keeps the {record.steps[name]} steps that were decided when it began")
    training = replace(training, steps=record.steps[name])
    note = "done before" if name in record.seconds else f"{training.steps} steps of {training.batch_size} images"
    listener.stage(name, note)
    result = fit(
        task, training, stage.directory, runtime=runtime, on_progress=listener.progress, on_warning=listener.say
    )
    if result.stopped_early:
        listener.say(
            f"  stopped at step {result.last_step} of {result.planned_steps}: "
            f"no better validation since step {result.best_step}"
        )
    record.seconds.setdefault(name, result.seconds)
    record.save()
    return result


def _decide_steps(
    stage: TrainingStage,
    task: Task,
    training: TrainingConfig,
    minutes: float | None,
    record: RunRecord,
    runtime: Runtime,
    listener: Listener,
) -> int:
    """Turn time into steps; done once, since a training that goes on has to keep its schedule."""
    if minutes is None:
        conversions = ("prepare images", "extract codes")
        spent = {name: seconds for name, seconds in record.seconds.items() if name in conversions}
        seconds = training_seconds(record.config.minutes, stage.share, spent)
    else:
        seconds = 60.0 * minutes
    if seconds == 0.0:
        return training.steps
    listener.stage(stage.name, f"timing a few steps, to fill {seconds / 60.0:.1f} minutes")
    return steps_that_fit(task, training, runtime=runtime, seconds=seconds)
