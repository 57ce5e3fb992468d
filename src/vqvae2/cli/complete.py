"""`vqvae2 complete`: a part of given images drawn anew."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import read_image
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import DecodingWriter, ImageWriter
from vqvae2.config import Resize, SamplingConfig
from vqvae2.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = ["Complete"]

_KNOWN_ROWS = 0.5  # unless something else is asked


@dataclass(frozen=True, kw_only=True)
class Complete(DecodingWriter, ImageWriter):
    """Draw a part of images anew in several ways: what a mask covers, the lower rows, or the lower levels of codes.

    Images are brought to the pipeline's size. Each PNG shows an image, what was given of it, and the variants.

    Example: vqvae2 complete photos --pipeline photos-run --out completions --known-rows 0.5
    """

    mask: Path | None = None
    """Picture of the pipeline's image size: white is drawn anew, black and transparent is known."""
    known_rows: float | None = None
    """Keep the upper rows: a share of the height if below 1, otherwise a number of pixel rows; 0.5 by default."""
    keep_levels: int | None = None
    """Keep the codes of so many levels, from the top, and draw the levels below."""
    variants: int = 4
    """Number of ways to complete each image."""
    resize: Resize = "crop"
    """How images get the pipeline's size: crop covers it and cuts evenly, pad adds a border, stretch distorts."""
    seed: int = 0
    """Seed of the random numbers."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images; by default the priors are told none."""
    batch_size: int = 16
    """Images at a time, each with all of its variants."""
    sampling: Annotated[SamplingConfig, tyro.conf.arg(name="")] = field(default_factory=SamplingConfig)

    def with_defaults(self) -> Self:
        """Take the pipeline's own sampling settings."""
        from vqvae2.pipeline.hub import find_pipeline_config

        own = find_pipeline_config(self.source)
        return replace(self, sampling=own.sampling_for(has_class=self.class_name is not None))

    def run(self, terminal: Terminal) -> Results:
        import torch

        options = ("mask", "known_rows", "keep_levels")
        known = {name: getattr(self, name) for name in options if getattr(self, name) is not None}
        if len(known) > 1:
            raise ConfigError(f"`mask`, `known_rows` and `keep_levels` exclude each other, got {' and '.join(known)}")
        pipeline = self.load_pipeline()
        config = pipeline.config
        label = None if self.class_name is None else pipeline.class_index(self.class_name)
        mask = self._read_mask(config.image_size)
        folder, pictures = self.make_folder("completions.json")
        pictures.facts = {
            "pipeline": self.pipeline,
            "decoder": config.default_decoder,
            **(known or {"known_rows": _KNOWN_ROWS}),
            "resize": self.resize,
            "seed": self.seed,
            "class": self.class_name,
            "sampling": self.sampling.to_dict(),
            "columns": ["original", "given", *(f"variant {number}" for number in range(self.variants))],
        }
        request = vqvae2.DrawRequest(seed=self.seed, label=label, sampling=self.sampling, num_variants=self.variants)
        hooks = vqvae2.Hooks.for_listener(terminal)
        num_images = len(pictures.outputs)
        terminal.stage("complete", f"{num_images} images, {self.variants} ways each")
        originals = pictures.read(
            *(folder, pictures.outputs),
            channels=pipeline.tokenizer.config.in_channels,
            bit_depth=config.bit_depth,
            size=config.image_size,
            resize=self.resize,
        )
        while batch := list(itertools.islice(originals, self.batch_size)):
            first = len(pictures.rows)  # counts readable images alone, so broken ones change no random numbers
            images = vqvae2.from_pixels(torch.stack([torch.from_numpy(pixels) for _, pixels in batch]))
            of_batch = hooks.of_batch(before=first, num_images=len(batch), total_images=num_images)
            rows = self._complete(pipeline, images, mask, replace(request, first_image=first), of_batch)
            grids = (vqvae2.encode_png(vqvae2.image_grid(row, columns=len(row))) for row in rows)
            pictures.write({name: ({}, grid) for (name, _), grid in zip(batch, grids, strict=True)})
        return pictures.finish(self.images, "completed", may_skip=True) | {"variants": self.variants}

    def _read_mask(self, size: tuple[int, int]) -> Tensor | None:
        """Read or make the mask, bool `(H, W)`; None if levels are kept instead."""
        import torch

        if self.keep_levels is not None:
            return None
        if self.mask is None:
            return vqvae2.mask_below(size, _KNOWN_ROWS if self.known_rows is None else self.known_rows)
        try:
            pixels = read_image(self.mask, channels=4)
        except DataError as error:
            raise DataError(f"`mask` must be a picture, but {self.mask}: {error}") from error
        if pixels.shape[:2] != size:
            raise DataError(
                f"`mask` must be {size[0]} pixels high and {size[1]} wide, like the pipeline's images, "
                f"but {self.mask} is {pixels.shape[0]} by {pixels.shape[1]}"
            )
        white, opacity = pixels[..., :3].mean(axis=-1), pixels[..., 3]
        mask = torch.from_numpy((white >= 128) & (opacity >= 128))
        if not mask.any():
            raise DataError(f"`mask` must be white where images are drawn anew, but {self.mask} has nothing of it")
        return mask

    def _complete(
        self,
        pipeline: vqvae2.Pipeline,
        images: Tensor,
        mask: Tensor | None,
        request: vqvae2.DrawRequest,
        hooks: vqvae2.Hooks,
    ) -> np.ndarray:
        """Lay out originals, what was given of them, and variants as pixels `(B, 2 + V, H, W, C)`."""
        import torch

        from vqvae2.sampling.completion import hide_pixels

        if mask is None:
            assert self.keep_levels is not None
            variants = pipeline.vary(images, request, keep_levels=self.keep_levels, hooks=hooks)
            given = pipeline.reconstruct(images, levels=self.keep_levels)
        else:
            variants = pipeline.complete(images, mask, request, hooks=hooks)
            given = hide_pixels(images, mask)
        pictures = torch.cat((images[:, None], given[:, None].cpu(), variants.cpu()), dim=1)
        pixels = vqvae2.to_pixels(pictures.flatten(0, 1), bit_depth=pipeline.config.bit_depth).numpy()
        return pixels.reshape(*pictures.shape[:2], *pixels.shape[1:])
