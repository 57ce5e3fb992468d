"""`vqvae2 decode`: images from codes as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import OutputFolder
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import LevelsWriter
from vqvae2.system.progress import Progress

__all__ = ["Decode"]


@dataclass(frozen=True, kw_only=True)
class Decode(LevelsWriter):
    """Turn codes into PNGs: those in the folder `codes` of what `encode` wrote, or of a run.

    Example: vqvae2 decode encoded/codes --pipeline photos-run --out images
    """

    codes: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CODES")]
    """Folder of codes."""
    limit: int = 0
    """Decode only the first images; 0 decodes all."""
    batch_size: int = 64
    """Images at a time."""

    def run(self, terminal: Terminal) -> Results:
        import numpy as np

        from vqvae2.data import CodeStore
        from vqvae2.images import crop_to
        from vqvae2.models.checkpoint import fingerprint

        pipeline, codes = self.load_pipeline(), CodeStore.open(self.codes)
        codes.require_tokenizer(fingerprint(pipeline.tokenizer))
        names = codes.names[: self.limit or None]
        outputs = {name: f"{number:06d}.png" for number, name in enumerate(names)}
        pictures = OutputFolder(self.out, "decoded.json", self.force, ".png", outputs, clears=True)
        pictures.check()
        pictures.facts = {"pipeline": self.pipeline, "decoder": pipeline.config.default_decoder}
        terminal.stage("decode", f"{len(names)} images")
        for first in range(0, len(names), self.batch_size):
            batch = names[first : first + self.batch_size]
            images = pipeline.decode(codes.batch(np.arange(first, first + len(batch))), levels=self.levels)
            images = crop_to(images, *pipeline.config.image_size).cpu()
            pixels = vqvae2.to_pixels(images, bit_depth=pipeline.config.bit_depth).numpy()
            pictures.write({name: ({}, vqvae2.encode_png(each)) for name, each in zip(batch, pixels, strict=True)})
            terminal.progress(Progress(first + len(batch), len(names), "images"))
        return pictures.finish(self.codes, "decoded")
