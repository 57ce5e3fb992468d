"""`vqvae2 studio`: a page in the browser that shows what a pipeline does."""

from __future__ import annotations

import ipaddress
import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vqvae2.cli.console import Terminal, print_results
from vqvae2.cli.verb import Verb
from vqvae2.config import DecoderName, Device
from vqvae2.errors import StopRequested
from vqvae2.pipeline.config import BUILTIN

__all__ = ["Studio", "is_loopback"]


@dataclass(frozen=True, kw_only=True)
class Studio(Verb):
    """Look at a pipeline in the browser: reconstruct, sample, complete, compress, codebook.

    Example: vqvae2 studio photos-run --port 8000
    """

    pipeline: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PIPELINE")] = Path(BUILTIN)
    """Folder of a pipeline or a run, its id on the Hub (owner/name), or builtin for the one in this package."""
    decoder: DecoderName | None = None
    """Decoder that the page opens with, of a pipeline that has two; by default that of the pipeline."""
    runs: Path = Path()
    """Folder of runs whose held-out images the codebook can be looked at with."""
    host: str = "127.0.0.1"
    """Address to listen at; the default lets only this machine in, 0.0.0.0 everyone who can reach it."""
    port: int = 7860
    """Port to listen at; 0 takes any free one."""
    open: bool = True
    """Open the page in the browser, if there is one."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""

    def run(self, terminal: Terminal) -> None:
        from vqvae2.studio import launch_studio

        if not is_loopback(self.host):
            terminal.say(f"anyone who reaches {self.host}:{self.port} can use this studio; it asks for no password")
        terminal.say("starting the studio; Ctrl-C ends it")

        def announce(address: str) -> None:
            print_results({"address": address}, as_json=self.json)
            if self.open and _has_browser():
                webbrowser.open(address)

        try:
            launch_studio(
                self.pipeline,
                decoder=self.decoder,
                runs_folder=self.runs,
                host=self.host,
                port=self.port,
                device=self.device,
                on_ready=announce,
            )
        except (KeyboardInterrupt, StopRequested):  # how it is meant to end
            terminal.say("the studio is closed")


def is_loopback(host: str) -> bool:
    """Whether an address to listen at lets only this machine in."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _has_browser() -> bool:
    """Whether there is a screen; without one, a text browser would take this terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
