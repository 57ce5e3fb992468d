"""The one training loop. What differs between models is a `Task`; the recipes beside this file are tasks.

A training can be interrupted at any moment and goes on from its last training state: the batches of a step depend
on seed and step alone, and weights, optimizer and random generators are saved. On a CPU it ends with the same bits as
one that was not interrupted; GPUs add some sums in any order.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vqvae2.atomic import atomic_write_bytes
from vqvae2.checkpoint import load_training_state, model_config, read_model_file, save_model, save_training_state
from vqvae2.config import TrainingConfig
from vqvae2.data import ShuffledBatches
from vqvae2.errors import CheckpointError, TrainingError
from vqvae2.training.task import FitResult, OnProgress, Progress, Runtime, StepOutput, Task

__all__ = ["fit", "learning_rate", "measure_step_seconds"]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Give the rate of a step, 0-based: a linear rise, then half a cosine to zero."""
    warmup = max(1, round(config.warmup_fraction * config.steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    fraction = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * fraction))


def fit(
    task: Task,
    config: TrainingConfig,
    directory: Path,
    *,
    runtime: Runtime,
    on_progress: OnProgress | None = None,
) -> FitResult:
    """Train until `config.steps`, going on from an earlier, interrupted training in the same directory.

    Writes into `directory`: `model.safetensors`, the model of the best validation so far;
    `training_state.pt`, all that is needed to go on; and `log.jsonl`, one line of measurements at a time.

    Args:
        task: What to train.
        config: How.
        directory: Where. It may hold an earlier part of the same training.
        runtime: On which device and in which precision.
        on_progress: Called after every step.

    Returns:
        The best measurements and the time taken.

    Raises:
        CheckpointError: If the directory holds another training, or a damaged one.
        TrainingError: If the loss is not finite.
    """
    training = _Training(task, config, directory, runtime)
    training.resume()
    window = _Window()
    validation_steps = {round(config.steps * (i + 1) / config.validations) for i in range(config.validations)}
    log_every = max(1, config.steps // 200)
    for batch in training.batches():
        output = training.advance(batch)
        window.add(output)
        if training.step % log_every == 0 or training.step in validation_steps:
            row = window.close(config.batch_size)
            row["learning_rate"] = learning_rate(config, training.step - 1)
            training.check_finite(row)
            if training.step in validation_steps:
                row |= training.validate()
            training.log(row)
            window = _Window()
        if on_progress is not None:
            latest = training.rows[-1] if training.rows else {}
            on_progress(Progress(training.step, config.steps, "steps", latest))
        if training.checkpoint_is_due():
            training.check_finite(window.means())
            training.checkpoint()
    runtime.accelerator.free_memory()  # or it would keep model and optimizer alive
    return training.result()


def measure_step_seconds(task: Task, config: TrainingConfig, *, runtime: Runtime, budget_seconds: float) -> float:
    """Time training steps on a copy of the model, so that a time budget can become a number of steps.

    Takes about `budget_seconds` and changes nothing: not the model, not the random generators.

    Returns:
        Median seconds of a step, the first two left out.
    """
    # The codebooks' part of a step is small, and they belong to the original: `after_step` is left out.
    model = copy.deepcopy(task.model).to(runtime.device).train()
    optimizer = _optimizer(model, config)
    times: list[float] = []
    device_type = runtime.device.type
    devices = [] if device_type == "cpu" else [runtime.device]
    with torch.random.fork_rng(devices=devices, device_type=device_type if devices else "cuda"):
        start = time.perf_counter()
        batches = ShuffledBatches(task.training_indices, batch_size=config.batch_size, seed=config.seed, num_steps=1000)
        for indices in batches:
            begun = time.perf_counter()
            _optimize(task, model, optimizer, task.load(indices), config, runtime)
            if runtime.device.type != "cpu":
                torch.accelerator.synchronize()
            times.append(time.perf_counter() - begun)
            if len(times) > 3 and time.perf_counter() - start > budget_seconds:
                break
    return sorted(times[2:])[len(times[2:]) // 2]


class _Training:
    """The state of one `fit`."""

    def __init__(self, task: Task, config: TrainingConfig, directory: Path, runtime: Runtime) -> None:
        self.task, self.config, self.directory, self.runtime = task, config, directory, runtime
        task.model.to(runtime.device)
        self._optimizer: torch.optim.Optimizer
        self.model, self._optimizer = runtime.accelerator.prepare(task.model, _optimizer(task.model, config))
        self.step = 0
        self.rows: list[dict[str, float]] = []
        self._best: dict[str, float] = {}
        self._seconds_before = 0.0
        self._started = self._saved = time.perf_counter()
        self._state_path = directory / "training_state.pt"

    def resume(self) -> None:
        if not self._state_path.exists():
            return
        state = load_training_state(self._state_path)
        for name, wanted in (("training", self.config), ("model", model_config(self.task.model))):
            _check_same(self._state_path, state[f"{name}_config"], json.loads(json.dumps(wanted.to_dict())))
        self.task.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        _set_random_state(state["random"], self.runtime.device)
        self.step, self.rows, self._best = state["step"], state["rows"], state["best"]
        self._seconds_before = state["seconds"]
        self._write_log()  # drops lines that were written after this state

    def batches(self) -> Iterator[Any]:
        """The batches of all steps to come."""
        sampler = ShuffledBatches(
            self.task.training_indices,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            start_step=self.step,
            num_steps=self.config.steps,
        )
        loader: Iterable[Any] = DataLoader(
            _Fetched(self.task),
            batch_sampler=sampler,
            collate_fn=_identity,
            pin_memory=self.runtime.device.type == "cuda",
            generator=torch.Generator(),  # or the loader would draw from the generator that a checkpoint restores
        )
        yield from loader

    def advance(self, batch: Any) -> StepOutput:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self.model.train()
        output = _optimize(self.task, self.model, self._optimizer, batch, self.config, self.runtime)
        self.task.after_step()
        self.step += 1
        return output

    def validate(self) -> dict[str, float]:
        """Measure, and save the model if it is the best so far."""
        self.model.eval()
        with torch.inference_mode():
            measured = self.task.validate(self.task.model, self.runtime)
        self.check_finite(measured)
        if not self._best or measured["score"] < self._best["score"]:
            self._best = measured | {"step": self.step}
            metadata = self.task.metadata | {"validation": measured, "step": self.step}
            save_model(self.task.model, self.directory / "model.safetensors", metadata=metadata)
        return {f"validation_{name}": value for name, value in measured.items() if name != "score"}

    def check_finite(self, measured: dict[str, float]) -> None:
        for name, value in measured.items():
            if math.isnan(value) or (math.isinf(value) and name != "psnr_db"):
                raise TrainingError(
                    f"the {name} became {value} near step {self.step}; the model and state saved before are kept; "
                    "try a lower `learning_rate`"
                )

    def log(self, row: dict[str, float]) -> None:
        self.rows.append({"step": self.step, "seconds": self.seconds} | row)
        if len(self.rows) == 1:
            self._write_log()
        else:
            with (self.directory / "log.jsonl").open("a") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")

    def checkpoint_is_due(self) -> bool:
        waited = time.perf_counter() - self._saved
        return self.step == self.config.steps or waited >= self.config.checkpoint_seconds

    def checkpoint(self) -> None:
        """Write all that is needed to go on."""
        state = {
            "step": self.step,
            "model": self.task.model.state_dict(),
            "model_config": json.loads(json.dumps(model_config(self.task.model).to_dict())),
            "training_config": self.config.to_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": _random_state(self.runtime.device),
            "rows": self.rows,
            "best": self._best,
            "seconds": self.seconds,
        }
        save_training_state(state, self._state_path)
        self._saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def result(self) -> FitResult:
        read_model_file(self.directory / "model.safetensors")  # a finished training has one, or says so here
        best = dict(self._best)
        return FitResult(int(best.pop("step")), best, self.seconds, self.seconds / self.config.steps)

    def _write_log(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        atomic_write_bytes(self.directory / "log.jsonl", lines.encode())


class _Window:
    """Means since the last log line, read from the device only when the line is due."""

    def __init__(self) -> None:
        self._count, self._start = 0, time.perf_counter()
        self._sums: dict[str, Tensor] = {}

    def add(self, output: StepOutput) -> None:
        for name, value in ({"loss": output.loss} | output.metrics).items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def means(self) -> dict[str, float]:
        return {name: total.item() / self._count for name, total in self._sums.items()}

    def close(self, batch_size: int) -> dict[str, float]:
        row = self.means()
        row["images_per_second"] = self._count * batch_size / (time.perf_counter() - self._start)
        return row


class _Fetched(Dataset[Any]):
    """Lets a `DataLoader` read a whole batch of a task at once."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitems__(self, indices: list[int]) -> Any:
        return self._task.load(indices)


def _identity(batch: Any) -> Any:
    return batch


def _optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)


def _optimize(
    task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, config: TrainingConfig, runtime: Runtime
) -> StepOutput:
    with runtime.autocast():
        output = task.step(model, batch, runtime.device)
    optimizer.zero_grad(set_to_none=True)
    runtime.accelerator.backward(output.loss)
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    return output._replace(metrics=output.metrics | {"grad_norm": grad_norm})


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type])


def _check_same(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{path} belongs to a training with `{name}` = {saved.get(name)!r}, asked for {wanted.get(name)!r}; "
                f"ask for the same, or delete {path.parent} to train it anew"
            )
