"""`vqvae2 push`: a pipeline for others, on the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.verb import Results, Verb

__all__ = ["Push"]


@dataclass(frozen=True, kw_only=True)
class Push(Verb):
    """Upload a pipeline to the Hugging Face Hub, with a model card that tells what was measured.

    Log in first with `hf auth login`, or set HF_TOKEN; others could see a token on the command line.

    Example: vqvae2 push photos-run me/photos --license cc0-1.0 --dry-run
    """

    pipeline: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PIPELINE")]
    """Folder of a pipeline or a run."""
    repo_id: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
    """Repository to upload to; it is made if there is none, and a pipeline and a card in it are replaced."""
    private: bool = False
    """Make a new repository private."""
    license: str = "unknown"
    """License of the weights, by its short name on the Hub, for example apache-2.0."""
    data_name: str | None = None
    """What the pipeline was trained on, in words, for the card."""
    message: str = "Upload a vqvae2 pipeline"
    """Message of the commit."""
    dry_run: bool = False
    """Print the card and the files, and stop."""

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.pipeline.folder import CARD_FILE
        from vqvae2.pipeline.hub import check_repo_id

        check_repo_id(self.repo_id)
        pipeline = vqvae2.Pipeline.from_pretrained(self.pipeline)
        measured = self.pipeline if self.pipeline.is_dir() else None
        facts = vqvae2.CardFacts(license=self.license, data_name=self.data_name, measured=measured)
        if not self.dry_run:
            terminal.stage("push", self.repo_id)
            commit = pipeline.push_to_hub(self.repo_id, private=self.private, commit_message=self.message, facts=facts)
            return {"repository": self.repo_id, "commit": commit}
        with TemporaryDirectory() as parent:
            folder = Path(parent) / "pipeline"
            pipeline.save_pretrained(folder, name=self.repo_id, facts=facts)
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            files = [{"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size} for path in paths]
            card = (folder / CARD_FILE).read_text(encoding="utf-8")
            return {"repository": self.repo_id, "files": files, "card": card}
