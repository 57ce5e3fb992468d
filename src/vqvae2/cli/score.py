"""`vqvae2 score`: how likely images are under the priors of a pipeline."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import ImageWriter
from vqvae2.config import Resize
from vqvae2.system.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = ["Score"]

_SHOWN = 5  # images that are printed


@dataclass(frozen=True, kw_only=True)
class Score(ImageWriter):
    """Measure how likely images are, and show where they are not: what does not belong costs more bits.

    Images are brought to the pipeline's size. Each PNG shows an image and, for each level of codes, where it is the
    less likely, in red. `scores.json` lists the images, the least likely first.

    Example: vqvae2 score photos --pipeline photos-run --out scores
    """

    resize: Resize = "crop"
    """How images get the pipeline's size: crop covers it and cuts evenly, pad adds a border, stretch distorts."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images; by default the priors are told none."""
    batch_size: int = 64
    """Images at a time."""

    def run(self, terminal: Terminal) -> Results:
        import torch

        from vqvae2.images import crop_to

        pipeline = self.load_pipeline()
        size, codebook_sizes = pipeline.config.image_size, pipeline.tokenizer.config.codebook_sizes
        label = None if self.class_name is None else pipeline.class_index(self.class_name)
        folder, pictures = self.make_folder("scores.json")
        num_images = len(pictures.outputs)
        pictures.facts = {"pipeline": self.pipeline, "resize": self.resize, "class": self.class_name}
        terminal.stage("score", f"{num_images} images")
        originals = pictures.read(
            *(folder, pictures.outputs),
            channels=pipeline.tokenizer.config.in_channels,
            bit_depth=pipeline.config.bit_depth,
            size=size,
            resize=self.resize,
        )
        while batch := list(itertools.islice(originals, self.batch_size)):
            images = vqvae2.from_pixels(torch.stack([torch.from_numpy(pixels) for _, pixels in batch]))
            codes = pipeline.encode(images)
            bits = [-nats.cpu() / math.log(2) for nats in pipeline.log_likelihood(codes, label=label)]
            errors = (crop_to(pipeline.decode(codes), *size).cpu() - images).square().mean((1, 2, 3))
            maps = [level / math.log2(count) for level, count in zip(bits, codebook_sizes, strict=True)]
            files = {}
            for place, (name, _) in enumerate(batch):
                of_levels = [level[place].double().sum().item() for level in bits]
                row = {
                    "bits": sum(of_levels),
                    "bits_per_pixel": sum(of_levels) / math.prod(size),
                    "bits_of_levels": of_levels,
                    "mse": errors[place].item(),
                }
                grid = _picture(images[place], [level[place] for level in maps])
                files[name] = (row, vqvae2.encode_png(grid))
            pictures.write(files)
            terminal.progress(Progress(len(pictures.rows) + len(pictures.failed), num_images, "images"))
        ranks = {name: -row["bits"] for name, row in pictures.rows.items()}
        pictures.outputs = dict(sorted(pictures.outputs.items(), key=lambda output: ranks.get(output[0], math.inf)))
        results = pictures.finish(self.images, "scored", may_skip=True)
        least = [pictures.rows[name] for name in pictures.outputs if name in pictures.rows][:_SHOWN]
        return results | {"least_likely": [{key: row[key] for key in ("original", "bits_per_pixel")} for row in least]}


def _picture(image: Tensor, maps: list[Tensor]) -> np.ndarray:
    """Lay out an image and a map over it for each level, as pixels `(H, W, 3)`.

    Red grows with the cost of a code: there is none at 0 bits, and nothing else where a code costs as much as any of
    its codebook would, if all were as likely.
    """
    import torch
    from torch.nn.functional import interpolate

    from vqvae2.images import to_rgb

    shown = to_rgb(image[None])
    pale, red = 0.5 + 0.5 * shown.mean(1, keepdim=True).expand_as(shown), torch.tensor([1.0, -1.0, -1.0])
    shares = (interpolate(costs.clamp(0.0, 1.0)[None, None], size=tuple(image.shape[1:])) for costs in maps)
    layers = [shown, *(torch.lerp(pale, red[:, None, None].expand_as(pale), share) for share in shares)]
    return vqvae2.image_grid(vqvae2.to_pixels(torch.cat(layers)).numpy(), columns=len(layers))
