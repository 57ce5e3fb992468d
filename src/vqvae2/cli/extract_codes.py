"""`vqvae2 extract-codes`: the images of a run as codes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Self

import tyro

from vqvae2.cli.console import Terminal
from vqvae2.cli.trainer import Continuation
from vqvae2.cli.verb import Results
from vqvae2.config import ExtractionConfig

__all__ = ["ExtractCodes"]


@dataclass(frozen=True, kw_only=True)
class ExtractCodes(Continuation):
    """Encode all images of a run with its tokenizer, and further views of its training images if asked.

    Example: vqvae2 extract-codes photos-run --augment 8
    """

    config: Annotated[ExtractionConfig, tyro.conf.arg(name="")] = field(default_factory=ExtractionConfig)

    def with_defaults(self) -> Self:
        """Take the values that the run has."""
        from vqvae2.runs.record import RunRecord

        return replace(self, config=RunRecord.load(self.folder).config.extraction)

    def run(self, terminal: Terminal) -> Results:
        run = self.open_run(terminal)
        run.set_extraction(self.config)
        codes = run.extract_codes()
        return {
            "codes": self.folder / "codes",
            "images": codes.num_images,
            "shapes": codes.shapes,
            "views": codes.extraction.num_views,
            "mirrored_too": codes.extraction.horizontal_flips,
            "tokenizer": codes.fingerprint,
        }
