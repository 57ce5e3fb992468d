"""The one training loop. What differs between models is a `Task`; the recipes beside this file are tasks.

A training can be interrupted at any moment and resumes from its last training state, which holds weights, averages and
optimizer. The items and random numbers of a step depend on seed and step alone. On a CPU, a resumed training ends with
the same bits as an uninterrupted one; GPUs do some sums in any order.

Several processes divide the items of each step among them. All of them run this loop; the first one writes.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from vqvae2.config import TrainingConfig
from vqvae2.errors import StopRequested, TrainingError
from vqvae2.models.checkpoint import (
    LAST_MODEL_FILE,
    MODEL_FILE,
    MODEL_VERSION,
    model_config,
    read_model_file,
    save_model,
)
from vqvae2.system.files import atomic_write_bytes
from vqvae2.system.processes import any_process, first_decides, is_first_process
from vqvae2.system.progress import OnProgress, Progress
from vqvae2.training.optimization import (
    Optimization,
    load_optimizer_state,
    load_weights,
    whole_optimizer_state,
    whole_weights,
)
from vqvae2.training.plan import Plan
from vqvae2.training.schedule import learning_rate, validation_steps
from vqvae2.training.states import TrainingStates, require_same_training
from vqvae2.training.steps import LogWindow, StepItems, load_steps, seed_step
from vqvae2.training.task import FitResult, Runtime, Task

__all__ = ["fit"]

_LONGEST_WINDOW = 1000  # steps between two lines of the log, and until a loss that is not finite is noticed
_NAMED_FILES = 8  # of the batch whose loss is not finite


def fit(
    task: Task,
    config: TrainingConfig,
    directory: Path,
    *,
    runtime: Runtime,
    plan: Plan | None = None,
    earlier_steps: int = 0,
    on_progress: OnProgress | None = None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> FitResult:
    """Train for `config.steps`, or until `config.patience` is exhausted.

    With a plan, its steps take the place of `config.steps`, and follow the speed of the machine, so that the training
    ends in time. A training that resumes keeps the plan that it has.

    An interrupted training in the same directory resumes; a finished one stays as it is. One that ended after
    `earlier_steps` goes on up to `config.steps`, with the schedule of rates and validations begun anew.

    `on_progress` is called after every step, and `on_warning` with a line if a damaged state is skipped, or if steps or
    threads become other ones.

    Writes into `directory`: `model.safetensors`, the model of the best validation so far, or of the last one if the
    task keeps it; `last.safetensors`, always that of the last one; `states/`, from which the training resumes; and
    `log.jsonl`, one line of measurements at a time.

    Raises:
        CheckpointError: If the directory holds only damaged states.
        ConfigError: If the processes cannot divide the batch evenly.
        OutputError: If the directory holds another training.
        StopRequested: If `runtime.stop` was made; a state is saved first.
        TrainingError: If the loss is not finite.
    """
    with runtime.stop.deferred():
        training = _Training(task, config, directory, runtime, plan, earlier_steps)
        training.resume(on_warning)
        for items in training.window.waiting(training.steps()):
            training.advance(items)
            if training.step in training.validations or training.step % training.log_every == 0:
                training.log()
                training.follow_plan(on_warning)
            if runtime.adapt_threads():
                on_warning(f"  {runtime.threads.in_words} from step {training.step + 1} on")
            if on_progress is not None:
                latest = training.rows[-1] if training.rows else {}
                on_progress(Progress(training.step, training.config.steps, "steps", latest))
            # All processes must agree to write a state or to stop, since they do it together.
            is_stopped, is_due = any_process(runtime.stop.is_made, training.checkpoint_is_due())
            if is_stopped or is_due:
                training.checkpoint()
            if is_stopped:
                raise _told_once(
                    StopRequested(
                        f"stopped as asked after step {training.step} of {training.config.steps}, which is saved in "
                        f"{directory}; run the same command again to resume"
                    )
                )
            if training.has_ended:
                break
        runtime.accelerator.free_memory()  # or it would keep model and optimizer alive
        return training.result()


class _Training:
    """The state of one `fit`."""

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        directory: Path,
        runtime: Runtime,
        plan: Plan | None,
        earlier_steps: int,
    ) -> None:
        self.task, self.config, self.directory, self.runtime = task, config, directory, runtime
        self._earlier_steps = earlier_steps
        self._take(plan)
        self._optimization = Optimization(task, task.model, config, runtime)
        self.log_every = max(1, min(self._schedule.steps // 200, _LONGEST_WINDOW))
        self.window = LogWindow()
        self.step = 0
        self.rows: list[dict[str, float]] = []
        self._best: dict[str, float] = {}
        self._validations_without_better = 0
        self._seconds_before = 0.0
        self._started = self._saved = time.perf_counter()
        self._states = TrainingStates(directory, keep=config.keep_checkpoints)

    def _take(self, plan: Plan | None) -> None:
        """Take over the steps of a plan, if there is one."""
        self._plan = plan
        if plan is not None:
            self.config = replace(self.config, steps=plan.steps)
        num_items, earlier = len(self.task.training_indices), self._earlier_steps
        self._schedule = replace(self.config, steps=self.config.steps - earlier)  # of the steps after the earlier ones
        self.validations = {earlier + step for step in validation_steps(self._schedule, num_items=num_items)}

    def _learning_rate(self, step: int) -> float:
        return learning_rate(self._schedule, step - self._earlier_steps)

    def resume(self, on_warning: Callable[[str], None]) -> None:
        """Take over the last state of the directory, if it has one."""
        # All processes read the same file, before the first of them writes another.
        state = self._states.load(on_warning=on_warning if is_first_process() else None)
        first_decides(self._states.clean)
        if state is None:
            return
        goes_on = state.get("earlier_steps", 0) != self._earlier_steps  # the state is the one that it ended with
        if state.get("plan") and not goes_on:
            self._take(Plan(**state["plan"]))
        may_change = ("steps",) if goes_on else ()
        require_same_training(self.directory, state, self.config, model_config(self.task.model), may_change=may_change)
        load_weights(self.task.model, state["model"])
        averaged, optimizer = self._optimization.averaged, self._optimization.optimizer
        if averaged is not None:
            load_weights(averaged.module, state["averaged"])
            averaged.num_updates = state["num_averaged"]
        load_optimizer_state(self.task.model, optimizer, state["optimizer"])
        self.step, self.rows, self._best = state["step"], state["rows"], state["best"]
        self._validations_without_better = 0 if goes_on else state["validations_without_better"]
        self._seconds_before = state["seconds"]
        self._write_log()  # drops lines that were written after this state

    def steps(self) -> Iterator[StepItems]:
        """Load the items of each remaining step."""
        return load_steps(
            self.task,
            self.config,
            start_step=self.step,
            num_steps=self.step if self.has_ended else self.config.steps if self._plan is None else sys.maxsize,
            pin_memory=self.runtime.device.type == "cuda",
        )

    def advance(self, items: StepItems) -> None:
        """Take a step."""
        seed_step(self.config, self.step)
        for group in self._optimization.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.step)
        output = self._optimization.step(items.batches)
        self.step += 1
        self.window.add(self.step, items.indices, output)

    def log(self) -> None:
        """Write a line of measurements: of the steps since the last one, and of a validation if it is time for one."""
        self._check_finite()
        row = self.window.close() | {"learning_rate": self._learning_rate(self.step - 1)}
        if self.step in self.validations:
            start = time.perf_counter()
            with self.window.paused():
                row |= self._validate()
            if self._plan is not None:
                self._plan = replace(self._plan, validation_seconds=time.perf_counter() - start)
        row = {"seconds": self.seconds} | row
        self.runtime.tracker.log(self.step, row)
        self.rows.append({"step": self.step} | row)
        if len(self.rows) == 1:
            self._write_log()
        elif is_first_process():
            with (self.directory / "log.jsonl").open("a") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")

    def follow_plan(self, on_warning: Callable[[str], None]) -> None:
        """Change the steps, if the training would end too early or too late otherwise; the first process decides."""
        plan = self._plan
        if plan is None or self.has_ended:
            return
        left = sum(step > self.step for step in self.validations)
        self._take(first_decides(lambda: plan.revised(self.rows, seconds=self.seconds, num_validations=left)))
        if self.config.steps != plan.steps:
            on_warning(f"  {self.config.steps} steps instead of {plan.steps}, to end in time")

    def _validate(self) -> dict[str, float]:
        """Measure the model and save it, also as the best one if it is."""
        model = self._optimization.evaluated.eval()
        with torch.inference_mode():
            measured = self.task.validate(model, self.runtime)
            of_training = self.task.measure_training(model, self.runtime)
            if self.runtime.tracker.is_on:
                self.runtime.tracker.show(self.step, self.task.pictures(model, self.runtime))
        self._check_measured(measured)
        metadata = {**self.task.metadata, "validation": measured, "step": self.step}
        result = self.task.result(model)
        self._save_model(result, LAST_MODEL_FILE, metadata)
        self._validations_without_better += 1
        if not self._best or self.task.keeps_last or measured["score"] < self._best["score"]:
            self._best = measured | {"step": self.step}
            self._validations_without_better = 0
            self._save_model(result, MODEL_FILE, metadata)
        row = {f"validation_{name}": value for name, value in measured.items() if name != "score"}
        row |= {f"train_{name}": value for name, value in of_training.items()}
        row["validations_without_better"] = self._validations_without_better
        return self.task.close_epoch() | row

    def _save_model(self, model: nn.Module, name: str, metadata: dict[str, Any]) -> None:
        weights = whole_weights(model)
        if is_first_process():
            save_model(model, self.directory / name, metadata=metadata, weights=weights)

    def _check_finite(self) -> None:
        bad = self.window.first_bad_step()
        if bad is None:
            return
        names = [self.task.names[index] for index in bad.indices[:_NAMED_FILES]]
        more = f" and {len(bad.indices) - len(names)} more" if len(bad.indices) > len(names) else ""
        self._fail(
            f"{bad.what} became {bad.value} at step {bad.step}, on {', '.join(names)}{more}", "look at these files"
        )

    def _check_measured(self, measured: dict[str, float]) -> None:
        for name, value in measured.items():
            if math.isnan(value) or (math.isinf(value) and name != "psnr_db"):
                self._fail(f"validation {name} became {value} after step {self.step}", "look at `log.jsonl`")

    def _fail(self, event: str, remedy: str) -> NoReturn:
        raise _told_once(
            TrainingError(
                f"the {event}; the checkpoint and model saved before are kept in {self.directory}; {remedy}, or try a "
                "lower `learning_rate`"
            )
        )

    @property
    def has_ended(self) -> bool:
        is_out_of_patience = 0 < self.config.patience <= self._validations_without_better
        return self.step == self.config.steps or is_out_of_patience

    def checkpoint_is_due(self) -> bool:
        waited = time.perf_counter() - self._saved
        return self.has_ended or waited >= self.config.checkpoint_seconds

    def checkpoint(self) -> None:
        """Write a state from which the training can resume."""
        self._check_finite()
        averaged = self._optimization.averaged
        with self.window.paused():
            state = {
                "step": self.step,
                "model": whole_weights(self.task.model),
                "averaged": None if averaged is None else whole_weights(averaged.module),
                "num_averaged": None if averaged is None else averaged.num_updates,
                "model_version": MODEL_VERSION,
                "model_config": model_config(self.task.model).to_dict(),
                "training_config": self.config.to_dict(),
                "earlier_steps": self._earlier_steps,
                "plan": None if self._plan is None else asdict(self._plan),
                "optimizer": whole_optimizer_state(self.task.model, self._optimization.optimizer),
                "rows": self.rows,
                "best": self._best,
                "validations_without_better": self._validations_without_better,
                "seconds": self.seconds,
            }
            first_decides(lambda: self._states.save(state, step=self.step))
        self._saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def result(self) -> FitResult:
        """Say how the training ended."""
        read_model_file(self.directory / MODEL_FILE)  # raises if the model is missing
        best = dict(self._best)
        return FitResult(
            best_step=int(best.pop("step")),
            last_step=self.step,
            planned_steps=self.config.steps,
            validation=best,
            seconds=self.seconds,
        )

    def _write_log(self) -> None:
        if not is_first_process():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        atomic_write_bytes(self.directory / "log.jsonl", lines.encode())


def _told_once(error: StopRequested | TrainingError) -> StopRequested | TrainingError:
    """Mark an error that every process raises as an echo in all but the first."""
    error.is_echo = not is_first_process()
    return error
