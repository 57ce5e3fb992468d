"""One training of a folder: how many steps it takes, and what the folder's record keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vqvae2.config import TrainingConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.runs.record import Record
from vqvae2.system.processes import first_decides
from vqvae2.system.progress import Listener
from vqvae2.training.loop import fit
from vqvae2.training.plan import Plan, plan_steps
from vqvae2.training.schedule import training_seconds
from vqvae2.training.states import TrainingStates
from vqvae2.training.task import FitResult, Runtime, Task

__all__ = ["TrainingStage"]

_CONVERSIONS = ("prepare images", "extract codes")  # stages that no schedule can shorten


@dataclass(frozen=True)
class TrainingStage:
    """One training of a folder, and the record in which its steps and seconds are kept."""

    record: Record[Any]
    name: str
    directory: Path
    share: float = 1.0
    """Of a run's time."""

    def train(
        self,
        task: Task,
        config: TrainingConfig,
        *,
        minutes: float | None,
        more_steps: int = 0,
        runtime: Runtime,
        listener: Listener,
    ) -> FitResult:
        """Train, or resume the training.

        `minutes` is the time to fill; None takes the stage's share of the run's time, and 0 the steps of the config. A
        training that resumes keeps its steps, and one that has ended takes `more_steps`. The listener is told what
        happens.

        Raises:
            CheckpointError: If there is no state to take more steps from.
            ConfigError: If a number is negative, or the training has not ended and so can take no more steps.
            OutputError: If the directory holds another training.
        """
        name, record = self.name, self.record
        runtime.adapt_threads()
        if minutes is not None and minutes < 0.0:
            raise ConfigError(f"`minutes` must be at least 0, got {minutes:g}; 0 takes the configured steps")
        if more_steps < 0:
            raise ConfigError(f"`more_steps` must be at least 0, got {more_steps}")
        if more_steps:
            self._go_on(more_steps)
        plan = None
        if name not in record.steps:
            record.steps[name], plan = self._begin(task, config, minutes, runtime, listener)
            record.save()
        elif minutes:
            listener.say(f"  keeps the {record.steps[name]} steps that it began with")
        config = replace(config, steps=record.steps[name])
        note = "done before" if name in record.seconds else f"{config.steps} steps of {config.batch_size} images"
        listener.stage(name, note)
        with runtime.tracker.stage(name.removeprefix("train ").replace(", ", "-")):
            result = fit(
                task,
                config,
                self.directory,
                runtime=runtime,
                plan=plan,
                earlier_steps=record.earlier_steps.get(name, 0),
                on_progress=listener.progress,
                on_warning=listener.say,
            )
        if result.stopped_early:
            listener.say(
                f"  stopped at step {result.last_step} of {result.planned_steps}: "
                f"no better validation since step {result.best_step}"
            )
        record.steps[name] = result.planned_steps
        record.seconds.setdefault(name, result.seconds)
        record.save()
        return result

    def _go_on(self, more_steps: int) -> None:
        """Plan more steps for a training that has ended, unless it has begun to take them."""
        name, record = self.name, self.record
        if name in record.seconds:
            state = first_decides(TrainingStates(self.directory).load)
            if state is None:
                raise CheckpointError(f"{self.directory} has no training state to go on from; train it anew")
            record.earlier_steps[name], record.steps[name] = state["step"], state["step"] + more_steps
            del record.seconds[name]
            record.save()
        elif name not in record.earlier_steps or record.steps[name] - record.earlier_steps[name] != more_steps:
            raise ConfigError(f"`more_steps` must be 0 until the training has ended, got {more_steps}; end it first")

    def _begin(
        self, task: Task, config: TrainingConfig, minutes: float | None, runtime: Runtime, listener: Listener
    ) -> tuple[int, Plan | None]:
        """Decide how many steps to take, and plan them if they are to fill some time."""
        planned = first_decides(TrainingStates(self.directory).planned_steps)
        if planned is not None:  # the state of a classifier that was begun before its record kept steps
            return planned, None
        if minutes is None:
            spent = {name: self.record.seconds[name] for name in _CONVERSIONS if name in self.record.seconds}
            seconds = training_seconds(self.record.config.minutes, self.share, spent)
        else:
            seconds = 60.0 * minutes
        if seconds == 0.0:
            return config.steps, None
        listener.stage(self.name, f"timing a few steps, to fill {seconds / 60.0:.1f} minutes")
        plan = plan_steps(task, config, runtime=runtime, seconds=seconds)
        return plan.steps, plan
