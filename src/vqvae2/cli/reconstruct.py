"""`vqvae2 reconstruct`: images through the codes and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqvae2.cli.writer import Writer
from vqvae2.errors import ConfigError, DataError
from vqvae2.system.progress import Progress

if TYPE_CHECKING:
    from vqvae2.cli.console import Terminal

__all__ = ["Reconstruct"]


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Writer):
    """Encode images of any size and decode them again, and say how far they are from the originals.

    Example: vqvae2 reconstruct photos --pipeline photos-run --out reconstructions
    """

    images_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images; they keep their own size."""
    pipeline: Path
    """Folder of a pipeline or a run, or else its id on the Hub, owner/name; builtin is that of this package."""
    levels: int | None = None
    """Decode from the upper levels only: 1 is the top alone."""
    limit: int = 0
    """Take the first images only; 0 for all."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        import torch

        from vqvae2.data import ImageFolder
        from vqvae2.images import decode_image, from_pixels, save_png, to_pixels
        from vqvae2.metrics.distortion import ReconstructionError

        pipeline = self.load_pipeline(self.pipeline)
        config, bit_depth = pipeline.tokenizer.config, pipeline.config.bit_depth
        if self.limit < 0:
            raise ConfigError(f"`limit` must be at least 0, got {self.limit}")
        if self.levels is not None and not 1 <= self.levels <= config.num_levels:
            raise ConfigError(f"`levels` must be in 1..{config.num_levels}, got {self.levels}")
        folder = ImageFolder(self.images_folder)
        self.check_out("reconstructions.json")
        self.make_out()
        total = min(len(folder), self.limit or len(folder))
        error, rows, skipped = ReconstructionError(), [], []
        terminal.stage("reconstruct", f"{total} images")
        for index in range(total):
            try:
                original = decode_image(folder[index].data, channels=config.in_channels, bit_depth=bit_depth)
            except DataError as problem:
                skipped.append({"file": folder.names[index], "reason": str(problem)})
                continue
            images = from_pixels(torch.from_numpy(original)[None])
            reconstruction = pipeline.reconstruct(images, levels=self.levels).cpu()
            error.update(reconstruction, images)
            name = f"{index:06d}.png"
            save_png(to_pixels(reconstruction, bit_depth=bit_depth)[0].numpy(), self.out / name)
            rows.append({"file": name, "original": folder.names[index]})
            terminal.progress(Progress(index + 1, total, "images"))
        if not rows:
            raise DataError(f"none of the {total} images in {self.images_folder} can be read; {skipped[0]['reason']}")
        (self.out / "reconstructions.json").write_text(json.dumps({"images": rows, "skipped": skipped}, indent=2))
        results = {"out": str(self.out), "images": len(rows), "mse": error.mse, "psnr_db": error.psnr_db}
        return results | ({"skipped": skipped} if skipped else {})
