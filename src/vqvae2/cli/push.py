"""The verb that shares a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqvae2.cli.verb import Verb

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal
    from vqvae2.pipeline.model_card import CardFacts
    from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["Push"]


@dataclass(frozen=True, kw_only=True)
class Push(Verb):
    """Upload a pipeline to the Hugging Face Hub, with a model card that tells what was measured.

    Log in first with `hf auth login`, or set HF_TOKEN; a token on the command line could be seen by others.

    Example: vqvae2 push photos-run me/photos --license cc0-1.0 --dry-run
    """

    pipeline: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PIPELINE")]
    """Folder of a pipeline or a run."""
    repo_id: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
    """The repository, which is made if there is none. A pipeline and a card that it holds are replaced."""
    private: bool = False
    """Make a new repository private."""
    license: str = "unknown"
    """Of the weights, by its short name on the Hub, for example apache-2.0."""
    data_name: str | None = None
    """What the pipeline was trained on, in words, for the card."""
    message: str = "Upload a vqvae2 pipeline"
    """Of the commit."""
    dry_run: bool = False
    """Print the card and the files, and stop."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        from vqvae2.pipeline.hub import check_repo_id
        from vqvae2.pipeline.model_card import CardFacts
        from vqvae2.pipeline.pipeline import Pipeline

        check_repo_id(self.repo_id)
        pipeline = Pipeline.from_pretrained(self.pipeline)
        facts = CardFacts(
            license=self.license,
            data_name=self.data_name,
            measured=self.pipeline if self.pipeline.is_dir() else None,
        )
        if self.dry_run:
            return {"repository": self.repo_id, **_preview(pipeline, self.repo_id, facts)}
        terminal.stage("push", self.repo_id)
        commit = pipeline.push_to_hub(self.repo_id, private=self.private, commit_message=self.message, facts=facts)
        return {"repository": self.repo_id, "commit": commit}


def _preview(pipeline: Pipeline, repo_id: str, facts: CardFacts) -> dict[str, Any]:
    """Write what would be uploaded, and look at it."""
    from vqvae2.pipeline.folder import CARD_FILE

    with TemporaryDirectory() as parent:
        folder = Path(parent) / "pipeline"
        pipeline.save_pretrained(folder, name=repo_id, facts=facts)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = [{"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size} for path in paths]
        return {"files": files, "card": (folder / CARD_FILE).read_text(encoding="utf-8")}
