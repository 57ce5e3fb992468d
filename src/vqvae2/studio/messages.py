"""Errors reach the page as one plain sentence."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isgeneratorfunction
from typing import ParamSpec, TypeVar

import gradio as gr
import torch

from vqvae2.errors import VQVAE2Error

__all__ = ["in_plain_words"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def in_plain_words(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Show the visitor what a function, or a generator, raises on purpose.

    Raises:
        gradio.Error: In place of a `VQVAE2Error`, or when the device runs out of memory.
    """
    if isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Iterator[object]:
            with _shown():
                yield from function(*args, **kwargs)

        return generate  # type: ignore[return-value]  # it is the generator that `function` is

    return _shown()(function)


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except (VQVAE2Error, torch.OutOfMemoryError) as error:
        is_ours = isinstance(error, VQVAE2Error)
        message = str(error) if is_ours else "the device has too little memory; take fewer or smaller images"
        # The page shows messages as HTML, and a message may quote what a visitor sent.
        raise gr.Error(html.escape(message[:1].upper() + message[1:]), print_exception=False) from error
