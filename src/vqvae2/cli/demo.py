"""`vqvae2 demo`: everything once, with the built-in images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro

from vqvae2.cli.console import Terminal
from vqvae2.cli.run import run_all
from vqvae2.cli.trainer import Builder
from vqvae2.cli.verb import Results
from vqvae2.config import RunConfig
from vqvae2.config.presets import PRESETS

if TYPE_CHECKING:
    from vqvae2.data import BuiltinImages

__all__ = ["Demo"]

_CONFIG = replace(PRESETS["cpu64"], minutes=5.0)  # for two CPU cores


@dataclass(frozen=True, kw_only=True)
class Demo(Builder):
    """Do everything once with the built-in emoji, in about five minutes on two CPU cores.

    Example: vqvae2 demo
    """

    out: Path = Path("vqvae2-demo")
    """Folder of the run; run the same command again to resume a run that was stopped."""
    config: Annotated[RunConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = _CONFIG

    def with_defaults(self) -> Self:
        """Keep variants of one emoji on one side of the split."""
        from vqvae2.data import BUILTIN_GROUP_PATTERN

        images = replace(self.config.images, group_pattern=BUILTIN_GROUP_PATTERN)
        return super(Demo, replace(self, config=replace(self.config, images=images))).with_defaults()

    def source(self) -> BuiltinImages:
        from vqvae2.data import BuiltinImages

        return BuiltinImages()

    def run(self, terminal: Terminal) -> Results:
        if self.dry_run:
            return self.config
        terminal.say(f"the built-in emoji, about {self.config.minutes:g} minutes; the run goes into {self.out}")
        return run_all(self.open_run(terminal), self.source(), terminal)
