"""The one training loop. What differs between models is a `Task`; the recipes beside this file are tasks.

A training can be interrupted at any moment and goes on from its last training state, in which weights, averages and
optimizer are saved: what a step is given and draws depends on seed and step alone. On a CPU it ends with the same bits
as one that was not interrupted; GPUs add some sums in any order.

Several processes divide each step's items among them, and every one of them runs this loop; the first writes.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vqvae2.config import TrainingConfig
from vqvae2.errors import StopRequested, TrainingError
from vqvae2.models.checkpoint import LAST_MODEL_FILE, MODEL_FILE, model_config, read_model_file, save_model
from vqvae2.system.atomic import atomic_write_bytes
from vqvae2.system.processes import any_process, first_decides, is_first_process
from vqvae2.system.progress import OnProgress, Progress
from vqvae2.training.loading import StepItems, load_steps, seed_step
from vqvae2.training.optimization import Optimization
from vqvae2.training.resuming import plain_config, require_same_config
from vqvae2.training.schedule import learning_rate, validation_steps
from vqvae2.training.sharding import load_optimizer_state, load_weights, whole_optimizer_state, whole_weights
from vqvae2.training.states import TrainingStates
from vqvae2.training.task import FitResult, Runtime, StepOutput, Task
from vqvae2.training.window import LogWindow

__all__ = ["fit", "measure_step_seconds"]

_LONGEST_WINDOW = 1000  # steps between two lines of the log, and until a loss that is not finite is noticed
_NAMED_FILES = 8  # of the batch whose loss is not finite


def fit(
    task: Task,
    config: TrainingConfig,
    directory: Path,
    *,
    runtime: Runtime,
    on_progress: OnProgress | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> FitResult:
    """Train until `config.steps`, or until `config.patience` is at its end.

    It goes on from an earlier, interrupted training in the same directory; one that has ended is left as it is.

    Writes into `directory`: `model.safetensors`, the model of the best validation so far; `last.safetensors`, that of
    the last one; `states/`, all that is needed to go on; and `log.jsonl`, one line of measurements at a time.

    Args:
        task: What to train.
        config: How.
        directory: Where. It may hold an earlier part of the same training.
        runtime: On which device and in which precision.
        on_progress: Called after every step.
        on_warning: Told, in a line, that a damaged state was passed over.

    Returns:
        How it ended, with the best measurements.

    Raises:
        CheckpointError: If the directory holds another training, or nothing but damaged states.
        ConfigError: If the batch cannot be divided among the processes.
        StopRequested: If `runtime.stop` was made; a state was saved first.
        TrainingError: If the loss is not finite.
    """
    with runtime.stop.deferred():
        return _fit(task, config, directory, runtime, on_progress, on_warning)


def _fit(
    task: Task,
    config: TrainingConfig,
    directory: Path,
    runtime: Runtime,
    on_progress: OnProgress | None,
    on_warning: Callable[[str], None] | None,
) -> FitResult:
    training = _Training(task, config, directory, runtime)
    training.resume(on_warning)
    window = LogWindow()
    validations = validation_steps(config, num_items=len(task.training_indices))
    log_every = max(1, min(config.steps // 200, _LONGEST_WINDOW))
    for items in window.waiting(training.steps()):
        window.add(training.step + 1, items.indices, training.advance(items.batches))
        is_validation = training.step in validations
        if is_validation or training.step % log_every == 0:
            training.check_finite(window)
            row = window.close() | {"learning_rate": learning_rate(config, training.step - 1)}
            if is_validation:
                start = time.perf_counter()
                row |= training.validate()
                window.leave_out(time.perf_counter() - start)
            training.log(row)
        if on_progress is not None:
            latest = training.rows[-1] if training.rows else {}
            on_progress(Progress(training.step, config.steps, "steps", latest))
        is_stopped, is_due = any_process(runtime.stop.is_made, training.checkpoint_is_due())
        if is_stopped or is_due:
            training.check_finite(window)
            start = time.perf_counter()
            training.checkpoint()
            window.leave_out(time.perf_counter() - start)
        if is_stopped:
            error = StopRequested(
                f"stopped as asked after step {training.step} of {config.steps}, which is saved in {directory}; "
                "the same command goes on from there"
            )
            error.is_echo = not is_first_process()
            raise error
        if training.has_ended:
            break
    runtime.accelerator.free_memory()  # or it would keep model and optimizer alive
    return training.result()


def measure_step_seconds(task: Task, config: TrainingConfig, *, runtime: Runtime, budget_seconds: float) -> float:
    """Time training steps on a copy of the model, so that a time budget can become a number of steps.

    Takes about `budget_seconds` and changes nothing: not the model, not the random generators.

    Returns:
        Median seconds of a step, the first two left out.
    """
    model = copy.deepcopy(task.model).to(runtime.device)
    optimization = Optimization(task, model, config, runtime, is_trial=True)
    times: list[float] = []
    device_type = runtime.device.type
    devices = [] if device_type == "cpu" else [runtime.device]
    with torch.random.fork_rng(devices=devices, device_type=device_type if devices else "cuda"):
        start = time.perf_counter()
        steps = load_steps(task, config, num_steps=1_000_000)  # more than any budget has time for
        while len(times) <= 3 or any_process(time.perf_counter() - start <= budget_seconds)[0]:
            begun = time.perf_counter()
            optimization.step(next(steps).batches)
            if runtime.device.type != "cpu":
                torch.accelerator.synchronize()
            times.append(time.perf_counter() - begun)
    task.close_epoch()  # forgets what it counted
    return first_decides(lambda: sorted(times[2:])[len(times[2:]) // 2])


class _Training:
    """The state of one `fit`."""

    def __init__(self, task: Task, config: TrainingConfig, directory: Path, runtime: Runtime) -> None:
        self.task, self.config, self.directory, self.runtime = task, config, directory, runtime
        task.model.to(runtime.device)
        self._optimization = Optimization(task, task.model, config, runtime)
        self.step = 0
        self.rows: list[dict[str, float]] = []
        self._best: dict[str, float] = {}
        self._validations_without_better = 0
        self._seconds_before = 0.0
        self._started = self._saved = time.perf_counter()
        self._states = TrainingStates(directory, keep=config.keep_checkpoints)

    def resume(self, on_warning: Callable[[str], None] | None) -> None:
        # All processes read the same file, before the first of them writes another.
        state = self._states.load(on_warning=on_warning if is_first_process() else None)
        first_decides(self._states.clean)
        if state is None:
            return
        for name, wanted in (("training", self.config), ("model", model_config(self.task.model))):
            require_same_config(self.directory, state[f"{name}_config"], wanted)
        load_weights(self.task.model, state["model"])
        averaged, optimizer = self._optimization.averaged, self._optimization.optimizer
        if averaged is not None:
            load_weights(averaged.module, state["averaged"])
            averaged.n_averaged.fill_(state["num_averaged"])
        load_optimizer_state(self.task.model, optimizer, state["optimizer"])
        self.step, self.rows, self._best = state["step"], state["rows"], state["best"]
        self._validations_without_better = state["validations_without_better"]
        self._seconds_before = state["seconds"]
        self._write_log()  # drops lines that were written after this state

    def steps(self) -> Iterator[StepItems]:
        """The items of each step to come."""
        return load_steps(
            self.task,
            self.config,
            start_step=self.step,
            num_steps=self.step if self.has_ended else self.config.steps,
            pin_memory=self.runtime.device.type == "cuda",
        )

    def advance(self, batches: list[Any]) -> StepOutput:
        seed_step(self.config, self.step)
        for group in self._optimization.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        output = self._optimization.step(batches)
        self.step += 1
        return output

    def validate(self) -> dict[str, float]:
        """Measure, and save the model, also as the best if it is."""
        model = self._optimization.evaluated.eval()
        with torch.inference_mode():
            measured = self.task.validate(model, self.runtime)
            of_training = self.task.measure_training(model, self.runtime)
        self._check_measured(measured)
        metadata = self.task.metadata | {"validation": measured, "step": self.step}
        self._save_model(model, LAST_MODEL_FILE, metadata)
        self._validations_without_better += 1
        if not self._best or measured["score"] < self._best["score"]:
            self._best = measured | {"step": self.step}
            self._validations_without_better = 0
            self._save_model(model, MODEL_FILE, metadata)
        row = {f"validation_{name}": value for name, value in measured.items() if name != "score"}
        row |= {f"train_{name}": value for name, value in of_training.items()}
        row["validations_without_better"] = self._validations_without_better
        return self.task.close_epoch() | row

    def _save_model(self, model: nn.Module, name: str, metadata: dict[str, Any]) -> None:
        weights = whole_weights(model)
        if is_first_process():
            save_model(model, self.directory / name, metadata=metadata, weights=weights)

    def check_finite(self, window: LogWindow) -> None:
        bad = window.first_bad_step()
        if bad is None:
            return
        names = self.task.names(bad.indices[:_NAMED_FILES])
        more = f" and {len(bad.indices) - len(names)} more" if len(bad.indices) > len(names) else ""
        error = TrainingError(
            f"the {bad.what} became {bad.value} at step {bad.step}, on {', '.join(names)}{more}; the checkpoint and "
            f"model saved before are kept in {self.directory}; look at these files, or try a lower `learning_rate`"
        )
        error.is_echo = not is_first_process()
        raise error

    def _check_measured(self, measured: dict[str, float]) -> None:
        for name, value in measured.items():
            if math.isnan(value) or (math.isinf(value) and name != "psnr_db"):
                raise TrainingError(
                    f"the validation {name} became {value} after step {self.step}; the checkpoint and model saved "
                    f"before are kept in {self.directory}; try a lower `learning_rate`"
                )

    def log(self, row: dict[str, float]) -> None:
        self.rows.append({"step": self.step, "seconds": self.seconds} | row)
        if len(self.rows) == 1:
            self._write_log()
        elif is_first_process():
            with (self.directory / "log.jsonl").open("a") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")

    @property
    def has_ended(self) -> bool:
        is_out_of_patience = 0 < self.config.patience <= self._validations_without_better
        return self.step == self.config.steps or is_out_of_patience

    def checkpoint_is_due(self) -> bool:
        waited = time.perf_counter() - self._saved
        return self.has_ended or waited >= self.config.checkpoint_seconds

    def checkpoint(self) -> None:
        """Write all that is needed to go on."""
        averaged = self._optimization.averaged
        state = {
            "step": self.step,
            "model": whole_weights(self.task.model),
            "averaged": None if averaged is None else whole_weights(averaged.module),
            "num_averaged": None if averaged is None else int(averaged.n_averaged),
            "model_config": plain_config(model_config(self.task.model)),
            "training_config": plain_config(self.config),
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
        read_model_file(self.directory / MODEL_FILE)  # a finished training has one, or says so here
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
