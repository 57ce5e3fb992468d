"""`vqvae2 extract-codes`: the images of a run as codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vqvae2.cli.trainer import Continuation

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal

__all__ = ["ExtractCodes"]


@dataclass(frozen=True, kw_only=True)
class ExtractCodes(Continuation):
    """Encode all images of a run with its tokenizer.

    Example: vqvae2 extract-codes photos-run
    """

    def run(self, terminal: Terminal) -> dict[str, Any]:
        codes = self.open_run(terminal).extract_codes()
        return {
            "codes": str(self.folder / "codes"),
            "images": codes.num_images,
            "shapes": [list(shape) for shape in codes.shapes],
            "mirrored_too": codes.has_flipped,
            "tokenizer": codes.fingerprint,
        }
