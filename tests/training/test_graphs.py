"""Steps that a CUDA graph can repeat: the same operations on the same memory, and nothing that waits for the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vqvae2.training import optimization
from vqvae2.training.runtime import choose_runtime
from vqvae2.training.steps import load_steps, seed_step

KINDS = ["tokenizer", "prior", "classifier", "decoder"]
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "_unique2", "item", "equal"}


class ReplayedFunction:
    """What `GraphedFunction` is, on a CPU: repeats the operations of the second call, with its numbers and memory."""

    def __init__(self, function, *, eager_calls):
        self.function, self.eager_calls, self.operations = function, 1, []

    def __call__(self):
        if self.eager_calls:
            self.eager_calls -= 1
            return self.function()
        if not self.operations:
            with Recorder(self.operations):
                self.result = self.function()
        else:
            with torch.no_grad():
                self.replay()
        return self.result

    def replay(self):
        for operation, args, kwargs, result in self.operations:
            for new, old in zip(tree_leaves(operation(*args, **kwargs)), tree_leaves(result), strict=True):
                if isinstance(old, torch.Tensor) and new.data_ptr() != old.data_ptr():
                    old.copy_(new)


class Watcher(TorchDispatchMode):
    """Refuses operations that would wait for a GPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation.overloadpacket.__name__ not in WAITING, f"{operation} would wait for the device"
        return operation(*args, **(kwargs or {}))


class Recorder(Watcher):
    def __init__(self, operations):
        super().__init__()
        self.operations = operations

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = super().__torch_dispatch__(operation, types, args, kwargs)
        self.operations.append((operation, args, kwargs or {}, result))
        return result


def train(task, training, runtime, *, is_graphed):
    """Take all steps; give the losses, and all that the steps changed."""
    steps = optimization.Optimization(task, task.model, training, runtime)
    if is_graphed:
        steps._is_graphed = True
        steps._compute = optimization._GraphedGradients(steps._gradients)
    losses = []
    for step, items in enumerate(load_steps(task, training, num_steps=training.steps)):
        seed_step(training, step)
        with Watcher():
            losses.append(steps.step(items.batches).loss)
    return torch.stack(losses), task.close_epoch(), task.model.state_dict()


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_replayed_step_is_the_same_step(make_task, monkeypatch, kind, precision, accumulation):
    monkeypatch.setattr(optimization, "GraphedFunction", ReplayedFunction)
    runtime = choose_runtime("cpu", precision)
    ends = [
        train(*make_task(kind, steps=6, accumulation=accumulation), runtime, is_graphed=is_graphed)
        for is_graphed in (False, True)
    ]
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_a_graphed_step_is_the_same_step(make_task, kind):
    runtime = choose_runtime("cuda", "float32")
    ends = [train(*make_task(kind, steps=8), runtime, is_graphed=is_graphed) for is_graphed in (False, True)]
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-3, atol=1e-5)
