"""What goes wrong reaches the page as one plain sentence, and nothing else of it does."""

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
    """Let what a function, or a generator, raises on purpose be shown to the visitor.

    Raises:
        gradio.Error: In the place of a `VQVAE2Error`, or if the device's memory is not enough.
    """
    if isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Iterator[object]:
            with _shown():
                yield from function(*args, **kwargs)

        return generate  # type: ignore[return-value]  # the generator that it stands for

    @functools.wraps(function)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with _shown():
            return function(*args, **kwargs)

    return call


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except VQVAE2Error as error:
        raise _error(str(error)) from error
    except torch.OutOfMemoryError as error:
        raise _error("the device's memory is not enough; take fewer or smaller images") from error


def _error(message: str) -> gr.Error:
    sentence = message[:1].upper() + message[1:]
    # The page shows messages as HTML, and a message may quote what a visitor sent.
    return gr.Error(html.escape(sentence), print_exception=False)
