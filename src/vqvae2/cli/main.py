"""The command `vqvae2`: parse, run a verb, and turn errors into one line and an exit code.

Exit codes: 0 done; 1 something the user can mend, said in one line; 2 the command line cannot be understood; 75 stopped
by SIGTERM, with all saved, and the same command goes on; 130 interrupted.

Started several times by `torchrun`, each process runs the verb; the first speaks.
"""

from __future__ import annotations

import functools
import operator
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import torch
import tyro

from vqvae2.cli.complete import Complete
from vqvae2.cli.compress import Compress
from vqvae2.cli.console import Terminal, print_results
from vqvae2.cli.decompress import Decompress
from vqvae2.cli.demo import Demo
from vqvae2.cli.evaluate import Evaluate
from vqvae2.cli.extract_codes import ExtractCodes
from vqvae2.cli.info import Info
from vqvae2.cli.push import Push
from vqvae2.cli.reconstruct import Reconstruct
from vqvae2.cli.run import RunAll
from vqvae2.cli.sample import Sample
from vqvae2.cli.studio import Studio
from vqvae2.cli.train_classifier import TrainClassifier
from vqvae2.cli.train_prior import TrainPrior
from vqvae2.cli.train_tokenizer import TrainTokenizer
from vqvae2.cli.verb import Verb
from vqvae2.errors import StopRequested, VQVAE2Error
from vqvae2.system.processes import is_first_process
from vqvae2.system.stopping import STOPPED_EXIT_CODE
from vqvae2.training.runtime import join_processes, leave_processes

__all__ = ["main"]

_VERBS: dict[str, type[Verb]] = {
    "demo": Demo,
    "run": RunAll,
    "train-tokenizer": TrainTokenizer,
    "extract-codes": ExtractCodes,
    "train-prior": TrainPrior,
    "sample": Sample,
    "reconstruct": Reconstruct,
    "complete": Complete,
    "compress": Compress,
    "decompress": Decompress,
    "train-classifier": TrainClassifier,
    "evaluate": Evaluate,
    "studio": Studio,
    "push": Push,
    "info": Info,
}

_DESCRIPTION = """Turn a collection of images into discrete codes and a generator over them (VQ-VAE-2).

Start with `vqvae2 demo`, then `vqvae2 run IMAGES --out DIR` on a folder of your own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` default to the process's. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _several_processes():
            return _run(_parse(arguments))
    except StopRequested as error:
        _fail(str(error), is_echo=error.is_echo)
        return STOPPED_EXIT_CODE
    except VQVAE2Error as error:
        return _fail(str(error), is_echo=error.is_echo)
    except torch.OutOfMemoryError:
        return _fail("the device's memory is not enough; try a smaller `batch_size`, or smaller networks")
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that may not be written
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("\nvqvae2: stopped; a run goes on from its last checkpoint with the same command", file=sys.stderr)
        return 130
    except SystemExit as exit_:  # of the parser: 0 after --help, 2 after a wrong flag
        return exit_.code if isinstance(exit_.code, int) else 2
    return 0


def _run(verb: Verb) -> int:
    if verb.is_shared or is_first_process():
        with Terminal(is_silent=not is_first_process()) as terminal:
            results = verb.run(terminal)
        if results and is_first_process():
            print_results(results, as_json=verb.json)
    return 0


@contextmanager
def _several_processes() -> Iterator[None]:
    """Meet the other processes, if there are any, and part from them."""
    join_processes()
    try:
        yield
    finally:
        leave_processes()


def _parse(arguments: list[str]) -> Verb:
    """Parse once to learn what the command is about, and again with the defaults that follow from it.

    The first time, options that are not known may belong to a network of another family than the default's.
    """
    first, _ = _parse_with({}, arguments, return_unknown_args=True)
    name = next(name for name, verb in _VERBS.items() if type(first) is verb)
    verb: Verb = _parse_with({name: first.with_defaults()}, arguments)
    return verb


def _parse_with(defaults: dict[str, Verb], arguments: list[str], **options: Any) -> Any:
    choices: list[Any] = []
    for name, verb in _VERBS.items():
        setting = tyro.conf.subcommand(name, default=defaults[name]) if name in defaults else tyro.conf.subcommand(name)
        choices.append(Annotated[verb, setting])
    union: Any = functools.reduce(operator.or_, choices)
    return tyro.cli(union, prog="vqvae2", description=_DESCRIPTION, args=arguments, **options)


def _fail(message: str, *, is_echo: bool = False) -> int:
    if not is_echo:
        print("vqvae2: " + " ".join(message.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
