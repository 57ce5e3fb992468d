"""`vqvae2 demo`: everything once, with the built-in images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from vqvae2.cli.console import Terminal
from vqvae2.cli.run import run_all
from vqvae2.cli.trainer import Builder
from vqvae2.cli.verb import Results
from vqvae2.config import BUILTIN_GROUP_PATTERN, RunConfig, SamplingConfig
from vqvae2.config.presets import PRESETS

__all__ = ["Demo"]

_PRESET = PRESETS["cpu64"]
# For two CPU cores. Heads of the same shapes stay on one side of the split. Five minutes are too short to memorize, so
# dropout would only slow the priors down; and too short to be sure of a code, so samples are drawn of likely ones.
_CONFIG = replace(
    _PRESET,
    minutes=5.0,
    images=replace(_PRESET.images, group_pattern=BUILTIN_GROUP_PATTERN),
    priors=tuple(replace(prior, dropout=0.0) for prior in _PRESET.priors),
    sampling=SamplingConfig(temperature=(0.8, 0.6)),
)


@dataclass(frozen=True, kw_only=True)
class Demo(Builder):
    """Do everything once with the built-in heads, in about five minutes on two CPU cores.

    Example: vqvae2 demo
    """

    out: Path = Path("vqvae2-demo")
    """Folder of the run; run the same command again to resume a run that was stopped."""
    config: Annotated[RunConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = _CONFIG

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.data import BuiltinImages

        if self.dry_run:
            return self.config
        terminal.say(f"the built-in heads, about {self.config.minutes:g} minutes; the run goes into {self.out}")
        return run_all(self.open_run(terminal), BuiltinImages(), terminal)
