"""A limit on the tensors that a block of code makes, for configs that come from others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["AllocationLimit", "AllocationLimitError"]

# Functions that take a size, as the first argument or as all of them, and those that take a range. The other ones make
# tensors of the sizes of their inputs.
_BY_SIZE = {torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand, torch.eye}
_BY_RANGE = {torch.arange, torch.linspace}


class AllocationLimitError(Exception):
    """A tensor has more elements than the limit allows."""


class AllocationLimit(TorchFunctionMode):
    """Raises before all tensors together have more elements than the limit.

    The meta device would know sizes as well, but its first random number takes seconds of imports, and every model
    would be built twice.

    Args:
        num_elements: The limit.
    """

    def __init__(self, num_elements: int) -> None:
        super().__init__()
        self._left = num_elements

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _BY_SIZE or func in _BY_RANGE:
            self._left -= _count(func, args, kwargs)
            if self._left < 0:
                raise AllocationLimitError
        return func(*args, **kwargs)


def _count(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    """Count the elements of the tensor that a function makes."""
    size = kwargs["size"] if "size" in kwargs else args[0] if isinstance(args[0], Sequence) else args
    numbers = [int(number) for number in size]
    if func is torch.eye:
        return numbers[0] * numbers[-1]
    return math.prod(numbers) if func in _BY_SIZE else max(map(abs, numbers))
