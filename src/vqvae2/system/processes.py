"""How the processes of one job share work. A process that runs alone is the first of one.

All processes run the same program on the same files. The first one writes. Work is divided into parts that do not
depend on the number of processes, so the results do not either.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from vqvae2.errors import VQVAE2Error

__all__ = [
    "any_process",
    "first_decides",
    "is_first_process",
    "num_processes",
    "process_index",
    "spread",
    "sum_over_processes",
    "take_from_first",
]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# True while the others wait for the first process. A plain variable, since compiled steps call `num_processes`, and a
# context variable would break their graphs.
_is_alone = False


def num_processes() -> int:
    """How many processes work together."""
    if _is_alone or not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def process_index() -> int:
    """Which of the processes this is, from 0."""
    return distributed.get_rank() if num_processes() > 1 else 0


def is_first_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return process_index() == 0


def sum_over_processes(*values: Tensor) -> None:
    """Add up tensors of one type over all processes, in place and in one exchange; every process must call this."""
    if num_processes() == 1:
        return
    together = torch.cat([value.flatten() for value in values])
    distributed.all_reduce(together)
    for value, part in zip(values, together.split([value.numel() for value in values]), strict=True):
        value.copy_(part.view(value.shape))


def take_from_first(values: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the first process; every process must call this."""
    if num_processes() > 1:
        for value in values:
            distributed.broadcast(value, src=0)


def any_process(*flags: bool) -> tuple[bool, ...]:
    """Return, for each flag, whether it is true in any process; every process must call this."""
    if num_processes() == 1:
        return flags
    values = torch.tensor([int(flag) for flag in flags])  # on the CPU, so that no device must synchronize
    distributed.all_reduce(values, op=distributed.ReduceOp.MAX)
    return tuple(bool(value) for value in values.tolist())


def first_decides(decide: Callable[[], _Result]) -> _Result:
    """Do something in the first process only, while the others wait, and return its result in all of them.

    Every process must call this. `decide` may take hours, and runs as if alone; its result must be small.

    Raises:
        VQVAE2Error: In every process, if the first raises it or an OSError; in the others it `is_echo`.
    """
    global _is_alone
    if num_processes() == 1:
        return decide()
    outcome: list[Any] = [None, None]  # the result, or the error
    cause: Exception | None = None
    if is_first_process():
        _is_alone = True
        try:
            outcome[0] = decide()
        except (VQVAE2Error, OSError) as error:
            cause, outcome[1] = error, error if isinstance(error, VQVAE2Error) else VQVAE2Error(str(error))
        finally:
            _is_alone = False
    distributed.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
    if cause is not None:
        raise cause
    result, failure = outcome
    if failure is not None:
        failure.is_echo = True
        raise failure
    decided: _Result = result
    return decided


def spread(items: Iterable[_Item], work: Callable[[_Item], _Result], *, idle_too: bool = False) -> Iterator[_Result]:
    """Do work on each item in one of the processes, and yield all results in all of them, in the items' order.

    Every process must call this with the same items, perhaps infinitely many, and stop after the same result. Work
    returns tensors on the CPU, or plain values. With `idle_too`, processes for which no last item is left repeat the
    first of these items: all processes must use a model whose weights are divided equally often.
    """
    count = num_processes()
    if count == 1:
        yield from map(work, items)
        return
    iterator = iter(items)
    while group := list(itertools.islice(iterator, count)):
        index = process_index()
        if idle_too and index >= len(group):
            index = 0
        own = work(group[index]) if index < len(group) else None
        results: list[Any] = [None] * count
        distributed.all_gather_object(results, own)
        yield from results[: len(group)]
