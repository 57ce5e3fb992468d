"""What the verbs share that apply a pipeline and write files into a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import OutputFolder
from vqvae2.cli.verb import Verb
from vqvae2.codec.bitstream import MAX_CODED_PIXELS
from vqvae2.config import DecoderName, Device
from vqvae2.errors import ConfigError

__all__ = ["CodecWriter", "DecodingWriter", "ImageWriter", "LevelsWriter", "Writer"]

_Key = TypeVar("_Key")
_AT_LEAST = {"batch_size": 1, "variants": 1, "max_pixels": 1, "limit": 0}


@dataclass(frozen=True, kw_only=True)
class Writer(Verb):
    """A verb that applies a pipeline and writes into a folder."""

    pipeline: Path
    """Folder of a pipeline or a run, its id on the Hub (owner/name), or builtin for the one in this package."""
    out: Path
    """Folder to write into, new or empty."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    force: bool = False
    """Replace what an earlier command wrote into the folder, and allow other files in it."""

    @property
    def held(self) -> Path:
        return self.out

    @property
    def source(self) -> Path:
        """The pipeline that is asked for."""
        return self.pipeline

    def load_pipeline(self) -> vqvae2.Pipeline:
        """Load the pipeline onto the chosen device; first of all, check the numbers that were given."""
        for name, least in _AT_LEAST.items():
            if getattr(self, name, least) < least:
                raise ConfigError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        return vqvae2.Pipeline.from_pretrained(self.source).to(vqvae2.choose_device(self.device))


@dataclass(frozen=True, kw_only=True)
class DecodingWriter(Writer):
    """A verb that decodes codes."""

    decoder: DecoderName | None = None
    """Decoder of the codes: faithful has the least error, sharp draws details; by default that of the pipeline."""

    def load_pipeline(self) -> vqvae2.Pipeline:
        return super().load_pipeline().using(self.decoder)


@dataclass(frozen=True, kw_only=True)
class LevelsWriter(DecodingWriter):
    """A verb that decodes all levels of codes, or the upper ones alone."""

    levels: int | None = None
    """Decode only so many of the upper levels: 1 is the top alone."""

    def load_pipeline(self) -> vqvae2.Pipeline:
        pipeline = super().load_pipeline()
        num_levels = pipeline.tokenizer.config.num_levels
        if self.levels is not None and not 1 <= self.levels <= num_levels:
            raise ConfigError(f"`levels` must be in 1..{num_levels}, got {self.levels}")
        return pipeline


@dataclass(frozen=True, kw_only=True)
class ImageWriter(Writer):
    """A verb that applies a pipeline to images."""

    images: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images, or one image file."""
    limit: int = 0
    """Use only the first images; 0 uses all."""

    def find_images(self, *, with_unused: bool = False) -> tuple[Path, tuple[str, ...]]:
        """Return the folder of the images and their names in it, `with_unused` those that its own split leaves out."""
        from vqvae2.data import ImageFolder

        if self.images.is_file():
            return self.images.parent, (self.images.name,)
        folder = ImageFolder(self.images)
        return self.images, folder.all_names if with_unused else folder.names

    def make_folder(self, listing: str) -> tuple[Path, OutputFolder]:
        """Return the folder of the images, and one in which a picture will be made of each, named by its number."""
        folder, names = self.find_images()
        outputs = {name: f"{number:06d}.png" for number, name in enumerate(names[: self.limit or None])}
        pictures = OutputFolder(self.out, listing, self.force, ".png", outputs, clears=True)
        pictures.check()
        return folder, pictures


@dataclass(frozen=True, kw_only=True)
class CodecWriter(Writer):
    """A verb that applies a pipeline's codec."""

    max_levels: int | None = None
    """Write or decode only so many of the upper levels, for a preview: 1 is the top alone."""
    batch_size: int = 16
    """Images at a time; images of one size are coded together."""
    max_pixels: int = MAX_CODED_PIXELS
    """Leave out images that have more pixels when padded to whole codes, which bounds memory and time."""

    def load_pipeline(self) -> vqvae2.Pipeline:
        return replace(super().load_pipeline(), max_pixels=self.max_pixels)

    def batches(
        self, keys: Mapping[str, _Key], num_codes: Callable[[_Key], int], terminal: Terminal
    ) -> Iterator[tuple[list[str], vqvae2.Hooks]]:
        """Yield at most `batch_size` names of one key at a time, and hooks that count the codes of all batches."""
        groups: dict[_Key, list[str]] = {}
        for name, key in keys.items():
            groups.setdefault(key, []).append(name)
        total = sum(len(names) * num_codes(key) for key, names in groups.items())
        hooks, before = vqvae2.Hooks.for_listener(terminal), 0
        for key, names in groups.items():
            for first in range(0, len(names), self.batch_size):
                batch = names[first : first + self.batch_size]
                share = len(batch) * num_codes(key)
                yield batch, hooks.of_part(before=before, share=share, total=total)
                before += share
