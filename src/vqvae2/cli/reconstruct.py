"""`vqvae2 reconstruct`: images through the codes and back."""

from __future__ import annotations

from dataclasses import dataclass

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import ImageWriter, LevelsWriter
from vqvae2.codec.bitstream import MAX_CODED_PIXELS, padded_pixels
from vqvae2.system.progress import Progress

__all__ = ["Reconstruct"]

_BATCH_SIZE = 16  # images that are written together


@dataclass(frozen=True, kw_only=True)
class Reconstruct(LevelsWriter, ImageWriter):
    """Encode images of any size, decode them again, and measure how far they are from the originals.

    Example: vqvae2 reconstruct photos --pipeline photos-run --out reconstructions
    """

    max_pixels: int = MAX_CODED_PIXELS
    """Leave out images that have more pixels when padded to whole codes, which bounds memory and time."""

    def run(self, terminal: Terminal) -> Results:
        import torch

        from vqvae2.metrics.distortion import ReconstructionError

        pipeline = self.load_pipeline()
        config, bit_depth = pipeline.tokenizer.config, pipeline.config.bit_depth
        folder, pictures = self.make_folder("reconstructions.json")
        pictures.facts = {"pipeline": self.pipeline, "decoder": pipeline.config.default_decoder}
        names, error = list(pictures.outputs), ReconstructionError()
        terminal.stage("reconstruct", f"{len(names)} images")
        for first in range(0, len(names), _BATCH_SIZE):
            batch = names[first : first + _BATCH_SIZE]
            files: dict[str, tuple[dict[str, object], bytes]] = {}
            for name, original in pictures.read(folder, batch, channels=config.in_channels, bit_depth=bit_depth):
                if padded_pixels(original.shape[:2], config.stride) > self.max_pixels:
                    pictures.failed[name] = f"it has more than `max_pixels` ({self.max_pixels}); give a larger number"
                    continue
                images = vqvae2.from_pixels(torch.from_numpy(original)[None])
                reconstruction = pipeline.reconstruct(images, levels=self.levels).cpu()
                error.update(reconstruction, images)
                pixels = vqvae2.to_pixels(reconstruction, bit_depth=bit_depth)[0].numpy()
                files[name] = ({}, vqvae2.encode_png(pixels))
            pictures.write(files)
            terminal.progress(Progress(first + len(batch), len(names), "images"))
        results = pictures.finish(self.images, "reconstructed", may_skip=True)
        return results | {"mse": error.mse, "psnr_db": error.psnr_db}
