"""The verb that draws a part of given images anew."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqvae2.cli.writer import Writer
from vqvae2.config import Resize, SamplingConfig
from vqvae2.errors import ConfigError, DataError
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vqvae2.cli.console import Terminal
    from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["Complete"]

_KNOWN_ROWS = 0.5  # where nothing else is asked


@dataclass(frozen=True, kw_only=True)
class Complete(Writer):
    """Draw a part of images anew, several ways: what a mask covers, the lower rows, or the lower levels of codes.

    Each PNG shows an image, what was given of it, and the variants.

    Example: vqvae2 complete photos --pipeline photos-run --out completions --known-rows 0.5
    """

    images: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images, or one file; they are brought to the pipeline's image size."""
    pipeline: Path
    """Folder of a pipeline or a run, or else its id on the Hub, owner/name; builtin is that of this package."""
    mask: Path | None = None
    """Picture of the pipeline's image size: white is drawn anew, black is known."""
    known_rows: float | None = None
    """Keep the upper rows: below 1 a share of the height, else a number of pixel rows; 0.5 if nothing else is asked."""
    keep_levels: int | None = None
    """Keep the codes of so many levels, from the top, and draw those below."""
    variants: int = 4
    """Ways to complete each image."""
    limit: int = 0
    """Take the first images only; 0 for all."""
    resize: Resize = "crop"
    """How images get to the pipeline's size: cover it and cut evenly, pad, or stretch."""
    seed: int = 0
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images; by default the priors are told none."""
    batch_size: int = 16
    """Images at a time, each with all of its variants."""
    sampling: Annotated[SamplingConfig, tyro.conf.arg(name="")] = field(default_factory=SamplingConfig)

    def run(self, terminal: Terminal) -> dict[str, Any]:
        import numpy as np
        import torch

        from vqvae2.images import from_pixels, image_grid, save_png

        self._check()
        pipeline = self.load_pipeline(self.pipeline)
        label = None if self.class_name is None else pipeline.class_index(self.class_name)
        mask = self._read_mask(pipeline)
        reading = {
            "channels": pipeline.tokenizer.config.in_channels,
            "bit_depth": pipeline.config.bit_depth,
            "size": pipeline.config.image_size,
            "resize": self.resize,
        }
        folder, files = _find_images(self.images)
        files = files[: self.limit or None]
        self.check_out("completions.json")
        request = DrawRequest(seed=self.seed, label=label, sampling=self.sampling, num_variants=self.variants)
        hooks = Hooks.for_listener(terminal)
        rows: list[dict[str, str]] = []
        skipped: list[dict[str, str]] = []
        terminal.stage("complete", f"{len(files)} images, {self.variants} ways each")
        for first in range(0, len(files), self.batch_size):
            pixels, names = [], []
            for index, file in enumerate(files[first : first + self.batch_size], start=first):
                try:
                    pixels.append(_read(folder / file, **reading))
                    names.append((f"{index:06d}.png", file))
                except DataError as problem:
                    skipped.append({"file": file, "reason": str(problem)})
            if not names:
                continue
            images = from_pixels(torch.from_numpy(np.stack(pixels)))
            request = replace(request, first_image=len(rows))
            of_batch = hooks.of_batch(before=first, num_images=len(names), total_images=len(files))
            pictures = self._complete(pipeline, images, mask, request, of_batch)
            if not rows:
                self.make_out()
            for (name, original), picture in zip(names, pictures, strict=True):
                save_png(image_grid(picture, columns=len(picture)), self.out / name)
                rows.append({"file": name, "original": original})
        if not rows:
            raise DataError(f"none of the {len(files)} images can be read; {skipped[0]['reason']}")
        listing = {
            "pipeline": str(self.pipeline),
            **self._known(),
            "resize": self.resize,
            "seed": self.seed,
            "class": self.class_name,
            "sampling": self.sampling.to_dict(),
            "columns": ["original", "given", *(f"variant {number}" for number in range(self.variants))],
            "images": rows,
            "skipped": skipped,
        }
        (self.out / "completions.json").write_text(json.dumps(listing, indent=2))
        results = {"out": str(self.out), "images": len(rows), "variants": self.variants}
        return results | ({"skipped": skipped} if skipped else {})

    def _known(self) -> dict[str, str | float]:
        """Say what is known of an image, by the one option that was taken."""
        if self.mask is not None:
            return {"mask": str(self.mask)}
        if self.keep_levels is not None:
            return {"keep_levels": self.keep_levels}
        return {"known_rows": _KNOWN_ROWS if self.known_rows is None else self.known_rows}

    def _check(self) -> None:
        asked = [name for name in ("mask", "known_rows", "keep_levels") if getattr(self, name) is not None]
        if len(asked) > 1:
            raise ConfigError(f"`mask`, `known_rows` and `keep_levels` exclude each other, got {' and '.join(asked)}")
        for name, least in (("variants", 1), ("batch_size", 1), ("limit", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` must be at least {least}, got {getattr(self, name)}")

    def _read_mask(self, pipeline: Pipeline) -> Tensor | None:
        """Read or make the mask, bool `(H, W)`; None where levels are kept instead."""
        import torch

        from vqvae2.sampling.completion import mask_below

        if self.keep_levels is not None:
            return None
        size = pipeline.config.image_size
        if self.mask is None:
            return mask_below(size, _KNOWN_ROWS if self.known_rows is None else self.known_rows)
        try:
            pixels = _read(self.mask, channels=1)
        except DataError as error:
            raise DataError(f"`mask` must be a picture, but {self.mask}: {error}") from error
        if pixels.shape[:2] != size:
            raise DataError(
                f"`mask` must be {size[0]} pixels high and {size[1]} wide, as the pipeline's images, "
                f"but {self.mask} is {pixels.shape[0]} by {pixels.shape[1]}"
            )
        mask = torch.from_numpy(pixels[:, :, 0] >= 128)
        if not mask.any():
            raise DataError(f"`mask` must be white where images are to be drawn anew, but {self.mask} is all dark")
        return mask

    def _complete(
        self, pipeline: Pipeline, images: Tensor, mask: Tensor | None, request: DrawRequest, hooks: Hooks
    ) -> np.ndarray:
        """Lay out originals, what was given of them, and variants as pixels `(B, 2 + V, H, W, C)`."""
        import torch

        from vqvae2.images import to_pixels
        from vqvae2.sampling.completion import hide_pixels

        if self.keep_levels is not None:
            variants = pipeline.vary(images, request, keep_levels=self.keep_levels, hooks=hooks)
            given = pipeline.reconstruct(images, levels=self.keep_levels)
        else:
            assert mask is not None
            variants = pipeline.complete(images, mask, request, hooks=hooks)
            given = hide_pixels(images, mask)
        pictures = torch.cat((images[:, None], given[:, None].cpu(), variants.cpu()), dim=1)
        pixels = to_pixels(pictures.flatten(0, 1), bit_depth=pipeline.config.bit_depth).numpy()
        return pixels.reshape(*pictures.shape[:2], *pixels.shape[1:])


def _find_images(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Give the folder of the images, and their names in it."""
    from vqvae2.data import ImageFolder

    return (path.parent, (path.name,)) if path.is_file() else (path, ImageFolder(path).names)


def _read(path: Path, **options: Any) -> np.ndarray:
    """Read an image file; see `decode_image` for the options."""
    from vqvae2.images import decode_image

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}") from error
    return decode_image(data, **options)
