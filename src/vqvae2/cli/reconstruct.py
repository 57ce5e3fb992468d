"""`vqvae2 reconstruct`: images through the codes and back."""

from __future__ import annotations

from dataclasses import dataclass

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import Pictures
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import ImageWriter
from vqvae2.errors import ConfigError
from vqvae2.system.progress import Progress

__all__ = ["Reconstruct"]


@dataclass(frozen=True, kw_only=True)
class Reconstruct(ImageWriter):
    """Encode images of any size, decode them again, and measure how far they are from the originals.

    Example: vqvae2 reconstruct photos --pipeline photos-run --out reconstructions
    """

    levels: int | None = None
    """Decode only so many of the upper levels: 1 is the top alone."""

    def run(self, terminal: Terminal) -> Results:
        import torch

        from vqvae2.metrics.distortion import ReconstructionError

        pipeline = self.load_pipeline(self.pipeline)
        config, bit_depth = pipeline.tokenizer.config, pipeline.config.bit_depth
        if self.levels is not None and not 1 <= self.levels <= config.num_levels:
            raise ConfigError(f"`levels` must be in 1..{config.num_levels}, got {self.levels}")
        folder, names = self.find_images()
        names = names[: self.limit or None]
        pictures = Pictures(self.out, "reconstructions.json", self.force)
        pictures.check()
        error = ReconstructionError()
        terminal.stage("reconstruct", f"{len(names)} images")
        for index, name, original in pictures.read(folder, names, channels=config.in_channels, bit_depth=bit_depth):
            images = vqvae2.from_pixels(torch.from_numpy(original)[None])
            reconstruction = pipeline.reconstruct(images, levels=self.levels).cpu()
            error.update(reconstruction, images)
            pictures.save(index, name, vqvae2.to_pixels(reconstruction, bit_depth=bit_depth)[0].numpy())
            terminal.progress(Progress(index + 1, len(names), "images"))
        pictures.finish(self.images, {})
        return pictures.results | {"mse": error.mse, "psnr_db": error.psnr_db}
