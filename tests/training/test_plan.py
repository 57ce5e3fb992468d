"""How many steps a time budget becomes, and how they follow the speed of the machine."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from vqvae2.training.loop import fit
from vqvae2.training.plan import Plan, measure_step_seconds, plan_steps
from vqvae2.training.states import TrainingStates


def test_timing_steps_changes_nothing(make_task, runtime):
    task, training = make_task()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    random_before = torch.get_rng_state()
    assert 0.0 < measure_step_seconds(task, training, runtime=runtime, budget_seconds=0.1) < 5.0
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    assert all(parameter.grad is None for parameter in task.model.parameters())
    assert torch.equal(torch.get_rng_state(), random_before)


def test_a_model_can_be_trained_after_its_steps_were_timed(make_task, runtime, monkeypatch):
    task, training = make_task()
    # As a move to another device, which makes new tensors.
    monkeypatch.setattr(type(task.model), "to", lambda model, _: model._apply(torch.clone))
    plan_steps(task, training, runtime=runtime, seconds=0.1)
    assert not any(tensor.is_inference() for tensor in (*task.model.parameters(), *task.model.buffers()))


@pytest.mark.parametrize(
    ("num_items", "steps"),
    [
        (10_000, 190),  # no epoch ends but the last
        (400, 150),  # four epochs could end
        (10, 40),  # more could than the most that are validated
    ],
)
def test_only_validations_that_will_come_take_time_from_steps(make_task, runtime, monkeypatch, num_items, steps):
    task, training = make_task()
    task.training_indices = list(range(num_items))
    training = replace(training, batch_size=8, max_validations=15)
    times = iter((0.0, 10.0))  # seconds at the start and at the end of the validation that is timed
    monkeypatch.setattr("vqvae2.training.plan.measure_step_seconds", lambda *_, **__: 1.0)
    monkeypatch.setattr("vqvae2.training.plan.time", SimpleNamespace(perf_counter=lambda: next(times)))
    assert plan_steps(task, training, runtime=runtime, seconds=200 / 0.97 + 8).steps == steps


@pytest.mark.parametrize(
    ("step_seconds", "steps"),
    [
        (1.0, 970),  # as planned
        (1.2, 970),  # within what is tolerated
        (2.0, 200 + 388),
        (0.5, 200 + 1552),
        (1e4, 201),  # no time for more
    ],
)
def test_the_steps_follow_the_speed_of_the_machine(step_seconds, steps):
    plan = Plan(seconds=1000.0, steps=970, validation_seconds=0.0)
    revised = plan.revised([{"step": 200, "step_seconds": step_seconds}], seconds=200.0, num_validations=0)
    assert revised == replace(plan, steps=steps)


ROWS = [{"step": 40, "step_seconds": 7.0}, {"step": 100, "step_seconds": 1.0}, {"step": 140, "step_seconds": 1.0}]
"""The first steps were slower; the latest tell."""


def test_too_few_seconds_tell_nothing():
    plan = Plan(seconds=10.0, steps=500, validation_seconds=0.0)
    assert plan.revised(ROWS[1:2], seconds=9.0, num_validations=0) != plan
    assert plan.revised([{"step": 4, "step_seconds": 1.0}], seconds=9.0, num_validations=0) == plan


def test_validations_to_come_take_time_from_the_steps():
    plan = Plan(seconds=1000.0, steps=1000, validation_seconds=10.0)
    assert plan.revised(ROWS, seconds=140.0, num_validations=20).steps == 774


def test_a_plan_has_some_steps_even_if_its_time_is_over():
    plan = Plan(seconds=10.0, steps=500, validation_seconds=0.0)
    assert plan.revised([{"step": 6, "step_seconds": 1.0}], seconds=11.0, num_validations=1).steps == 20


class Clock:
    """Stands in for the module `time`; each of the task's steps takes as long as `step_seconds` says."""

    def __init__(self):
        self.now, self.step_seconds = 0.0, lambda step: 1.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def planned(make_task, monkeypatch, runtime, tmp_path):
    """Train by a plan of 100 steps in 100 seconds, on a machine of some speed; return the result and what was said."""
    clock = Clock()
    for module in ("loop", "steps"):
        monkeypatch.setattr(f"vqvae2.training.{module}.time", clock)

    def train(step_seconds, name="run", **changes):
        task, training = make_task(max_validations=1, checkpoint_seconds=1e6, **changes)
        take = task.after_step

        def after_step(model):
            taken[0] += 1
            clock.now += step_seconds(taken[0])
            take(model)

        taken, said = [0], []
        task.after_step = after_step
        plan = Plan(seconds=100.0, steps=100, validation_seconds=0.0)
        result = fit(task, training, tmp_path / name, runtime=runtime, plan=plan, on_warning=said.append)
        return result, said

    return train


@pytest.mark.parametrize(
    ("step_seconds", "fewest", "most"),
    [
        (lambda step: 0.97, 100, 100),
        (lambda step: 0.97 if step <= 50 else 3.0, 60, 75),  # another process begins
        (lambda step: 0.97 if step > 50 else 0.25, 120, 145),  # another process ends, and so does what it held up
        (lambda step: 4.0, 20, 26),
    ],
)
def test_a_training_ends_in_its_time_whatever_the_speed(planned, step_seconds, fewest, most):
    result, said = planned(step_seconds)
    assert fewest <= result.last_step <= most
    assert result.last_step == result.planned_steps
    assert 90.0 <= result.seconds <= 110.0
    assert bool(said) == (result.last_step != 100)
    assert all("instead of" in line for line in said)


def test_a_training_that_resumes_keeps_its_plan(planned, runtime, make_task, tmp_path):
    result, _ = planned(lambda step: 2.0)
    assert TrainingStates(tmp_path / "run").load()["plan"]["steps"] == result.planned_steps < 100
    task, training = make_task(max_validations=1, checkpoint_seconds=1e6)
    again = fit(task, replace(training, steps=100), tmp_path / "run", runtime=runtime)
    assert (again.last_step, again.planned_steps) == (result.last_step, result.planned_steps)
