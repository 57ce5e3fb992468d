"""Start a command in several processes, as `torchrun` does and with its arguments, and end with their exit code.

    python -m vqvae2.cli.launch --nproc-per-node 8 -m vqvae2 run IMAGES --out DIR

`torchrun` itself knows one exit code, 1, for whatever its processes end with. A job system that is to start a run again
after it was stopped has to tell that (75) from an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from vqvae2.system.stopping import STOPPED_EXIT_CODE

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `torchrun`; give the exit code of the process that ended first, or 75 after a signal to stop."""
    try:
        torchrun(list(sys.argv[1:] if arguments is None else arguments))
    except SignalException:
        return STOPPED_EXIT_CODE
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1  # below 0 if a signal killed it
    return 0


if __name__ == "__main__":
    sys.exit(main())
