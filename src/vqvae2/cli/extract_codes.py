"""`vqvae2 extract-codes`: the images of a run as codes."""

from __future__ import annotations

from dataclasses import dataclass

from vqvae2.cli.console import Terminal
from vqvae2.cli.trainer import Continuation
from vqvae2.cli.verb import Results

__all__ = ["ExtractCodes"]


@dataclass(frozen=True, kw_only=True)
class ExtractCodes(Continuation):
    """Encode all images of a run with its tokenizer.

    Example: vqvae2 extract-codes photos-run
    """

    def run(self, terminal: Terminal) -> Results:
        codes = self.open_run(terminal).extract_codes()
        return {
            "codes": self.folder / "codes",
            "images": codes.num_images,
            "shapes": codes.shapes,
            "mirrored_too": codes.has_flipped,
            "tokenizer": codes.fingerprint,
        }
