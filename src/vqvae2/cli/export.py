"""`vqvae2 export`: the tokenizer of a pipeline for other runtimes than PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import require_new
from vqvae2.cli.verb import Results, Verb

__all__ = ["Export"]


@dataclass(frozen=True, kw_only=True)
class Export(Verb):
    """Write the encoder and the decoders of a pipeline as ONNX.

    Example: vqvae2 export builtin --out onnx
    """

    pipeline: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PIPELINE")]
    """Folder of a pipeline or a run, its id on the Hub (owner/name), or builtin for the one in this package."""
    out: Path
    """Folder to write into, new or empty."""
    force: bool = False
    """Replace what an earlier command wrote into the folder, and allow other files in it."""

    @property
    def held(self) -> Path:
        return self.out

    def run(self, terminal: Terminal) -> Results:
        require_new(self.out, force=self.force)
        pipeline = vqvae2.Pipeline.from_pretrained(self.pipeline)
        terminal.stage("export", str(self.out))
        files = vqvae2.export_onnx(pipeline, self.out)
        return {"out": self.out, "files": [{"file": path.name, "bytes": path.stat().st_size} for path in files]}
