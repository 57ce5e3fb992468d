"""The command `vqvae2`: parse, run a verb, and turn errors into one line and an exit code.

Exit codes: 0 done; 1 something the user can mend, said in one line; 2 the command line cannot be understood; 75 stopped
by SIGTERM with everything saved, so that the same command resumes; 130 interrupted.

`torchrun` starts the command several times: each process runs the verb, and the first one prints.

Reading a command line must not import torch, which takes longer than all the rest. So the verbs' modules import what
they work with inside of their functions, and so does this one.
"""

from __future__ import annotations

import functools
import importlib
import operator
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqvae2.cli.parser import parse
from vqvae2.errors import StopRequested, VQVAE2Error
from vqvae2.system.stopping import STOPPED_EXIT_CODE
from vqvae2.system.version import __version__

if TYPE_CHECKING:
    from vqvae2.cli.verb import Verb

__all__ = ["main"]

_VERBS = (
    *("demo", "run", "train-tokenizer", "extract-codes", "train-prior", "train-decoder", "sample", "reconstruct"),
    *("complete", "score", "encode", "decode", "compress", "decompress", "train-classifier", "evaluate"),
    *("tune-sampling", "studio", "push", "export", "info"),
)
"""A verb's module and its class are named like the verb."""

_DEPENDENT = ("--priors.", "--prior-trainings.", "--tokenizer.quantizer.", "--network.", "--classifier-network.")
"""Beginnings of options that exist or not, as other options, images and earlier runs have it."""

_DESCRIPTION = """Turn a collection of images into discrete codes and a generator over them (VQ-VAE-2).

Start with `vqvae2 demo`, then `vqvae2 run IMAGES --out DIR` on a folder of your own.
`vqvae2 --version` prints the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` default to the process's. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # which may lack a letter of a path or a class, as on Windows
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if arguments == ["--version"]:
        print(f"vqvae2 {__version__}")
        return 0
    try:
        with _several_processes() as is_first:
            _run(_parse(arguments), is_first=is_first)
    except StopRequested as error:
        _fail(error)
        return STOPPED_EXIT_CODE
    except VQVAE2Error as error:
        return _fail(error)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that may not be written
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except (RuntimeError, MemoryError) as error:
        # torch has an error of its own for devices alone.
        is_of_cpu = isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)
        if not is_of_cpu and type(error).__name__ != "OutOfMemoryError":
            raise
        where = "this machine" if is_of_cpu else "the device"
        return _fail(f"{where} has too little memory; use a smaller `batch_size`, smaller images or smaller networks")
    except KeyboardInterrupt:
        print("\nvqvae2: interrupted; run the same command again to resume a run", file=sys.stderr)
        return 130
    except SystemExit as exit_:  # of the parser: 0 after --help, 2 after a wrong flag
        return exit_.code if isinstance(exit_.code, int) else 2
    return 0


def _run(verb: Verb, *, is_first: bool) -> None:
    from vqvae2.cli.console import Terminal, print_results

    if verb.is_shared or is_first:
        with ExitStack() as stack:
            terminal = stack.enter_context(Terminal(is_silent=not is_first))
            if verb.held is not None:
                from vqvae2.system.folder_lock import hold_folder
                from vqvae2.system.processes import first_decides

                first_decides(functools.partial(stack.enter_context, hold_folder(verb.held)))
            results = verb.run(terminal)
        if results and is_first:
            print_results(results, as_json=verb.json)


@contextmanager
def _several_processes() -> Iterator[bool]:
    """Meet the other processes, if there are any, and part from them; give whether this one is the first."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    from vqvae2.system.processes import is_first_process
    from vqvae2.training.runtime import join_processes, leave_processes

    join_processes()
    try:
        yield is_first_process()
    finally:
        leave_processes()


def _parse(arguments: list[str]) -> Verb:
    """Parse once to learn what the command is about, and again with the defaults that follow from it.

    The first time, options that are not known may belong to a network of another family than the default's.
    """
    if not arguments or arguments[0] not in _VERBS:  # help, or a mistake: the parser knows what to say
        choices: list[Any] = []
        for name in _VERBS:
            summary = (_find_verb(name).__doc__ or "").partition("\n")[0]
            choices.append(Annotated[_find_verb(name), tyro.conf.subcommand(name, description=summary)])
        verb: Verb = parse(
            functools.reduce(operator.or_, choices), prog="vqvae2", description=_DESCRIPTION, args=arguments
        )
        return verb
    from vqvae2.config import provisional_configs

    name, *rest = arguments
    parse_verb = functools.partial(parse, _find_verb(name), prog=f"vqvae2 {name}", args=rest)
    with provisional_configs():
        first, unknown = parse_verb(return_unknown_args=True)
    if unknown and not any(word.replace("_", "-").startswith(_DEPENDENT) for word in unknown):
        parse_verb()  # says what is wrong, and ends
    verb = parse_verb(default=first.with_defaults())
    return verb


def _find_verb(name: str) -> type[Verb]:
    module = importlib.import_module(f"vqvae2.cli.{name.replace('-', '_')}")
    verb: type[Verb] = getattr(module, name.title().replace("-", ""))
    return verb


def _fail(problem: VQVAE2Error | str) -> int:
    if isinstance(problem, str) or not problem.is_echo:
        print("vqvae2: " + " ".join(str(problem).split()), file=sys.stderr)
    return 1
