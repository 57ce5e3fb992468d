"""The verb that writes images as files of the package's own format."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqvae2.cli.writer import TreeWriter, name_outputs
from vqvae2.codec.bitstream import Header, Mode
from vqvae2.config import VQVAE2Config
from vqvae2.errors import ConfigError, DataError
from vqvae2.sampling.hooks import Hooks

if TYPE_CHECKING:
    from torch import Tensor

    from vqvae2.cli.console import Terminal
    from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["Compress", "batches_of_one_key", "codes_per_image"]


@dataclass(frozen=True, kw_only=True)
class Compress(TreeWriter):
    """Write images as small files, from which `vqvae2 decompress` and the same pipeline make what it makes of them.

    Each image becomes a .vq2 file of the same name, in the same sub-folder; a.png and a.jpg beside each other become
    a.png.vq2 and a.jpg.vq2. It keeps the codes bit for bit; what the tokenizer lost of the image is lost. An image in a
    folder that is named like a class is coded as of that class.

    Example: vqvae2 compress photos --pipeline photos-run --out compressed
    """

    listing = "compressed.json"
    ending = ".vq2"

    images: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images, or one file; they keep their own size."""
    pipeline: Path
    """Folder of a pipeline or a run, or else its id on the Hub, or builtin; it is needed again to decompress."""
    mode: Mode | None = None
    """How codes are written: by the priors' probabilities, in a walk over them, or raw, larger and at once. By default
    the priors are used if there are any."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images, which changes the size of files alone; by default it is told by their folders' names."""
    max_levels: int | None = None
    """Write the upper levels only: 1 is a preview."""
    limit: int = 0
    """Take the first images only; 0 for all."""
    batch_size: int = 16
    """Images at a time; those of one size walk together."""
    verify: bool = True
    """Decode every file again and compare before it is written, in as much time again."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        self._check()
        pipeline = self.load_pipeline(self.pipeline)
        mode: Mode = self.mode or ("prior" if pipeline.priors else "raw")
        if self.class_name is not None:
            pipeline.class_index(self.class_name)
            if mode == "raw":
                raise ConfigError("`class` must be left out where `mode` is raw, since codes need no class there")
        folder, all_names = _find_images(self.images)
        outputs = name_outputs(all_names, self.ending)
        names = all_names[: self.limit or None]
        self.check_out(outputs[name] for name in names)
        start = time.perf_counter()
        skipped: dict[str, str] = {}
        sizes = _find_sizes(folder, names, pipeline, skipped)
        config = pipeline.tokenizer.config
        num_codes = sum(codes_per_image(config, size, self.max_levels) for size in sizes.values())
        terminal.stage("compress", f"{len(sizes)} images, {num_codes} codes")
        rows: dict[str, dict[str, Any]] = {}
        earlier = self.earlier_rows()
        original_bytes = raw_bytes = 0
        for batch in self._batches(pipeline, folder, sizes, skipped, mode, terminal):
            for name, (data, num_bytes) in batch.items():
                header = pipeline.codec.read(data).header
                rows[name] = _row(outputs[name], name, data, header, pipeline)
                original_bytes += num_bytes
                raw_bytes += _fixed_width_bytes(config, header)
            self._write_listing(names, rows, skipped, mode, header, earlier)
            for name, (data, _) in batch.items():
                self.write(outputs[name], data)
        if not rows:
            raise DataError(self.complaint(self.images, names, skipped, "compressed"))
        if skipped:
            self._write_listing(names, rows, skipped, mode, header, earlier)
            raise DataError(self.complaint(self.images, names, skipped, "compressed"))
        num_bytes = sum(row["bytes"] for row in rows.values())
        return {
            "out": str(self.out),
            "images": len(rows),
            "bytes": num_bytes,
            "bits_per_pixel": 8 * num_bytes / sum(row["height"] * row["width"] for row in rows.values()),
            **({"percent_of_raw_codes": 100 * num_bytes / raw_bytes} if mode == "prior" else {}),
            "original_bytes": original_bytes,
            "seconds": time.perf_counter() - start,
        }

    def _check(self) -> None:
        for name, least in (("batch_size", 1), ("limit", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` must be at least {least}, got {getattr(self, name)}")

    def _batches(
        self,
        pipeline: Pipeline,
        folder: Path,
        sizes: Mapping[str, tuple[int, int]],
        skipped: dict[str, str],
        mode: Mode,
        terminal: Terminal,
    ) -> Iterator[dict[str, tuple[bytes, int]]]:
        """Give the compressed bytes of images and their original number, a batch of one size after the other."""
        import torch

        from vqvae2.images import decode_image, from_pixels

        config = pipeline.tokenizer.config
        counts = {size: codes_per_image(config, size, self.max_levels) for size in set(sizes.values())}
        before, total = 0, sum(counts[size] for size in sizes.values())
        hooks = Hooks.for_listener(terminal)
        for size, names in batches_of_one_key(sizes, self.batch_size):
            images: list[Tensor] = []
            read: dict[str, int] = {}
            for name in names:
                try:
                    data = _read_bytes(folder / name)
                    pixels = decode_image(data, channels=config.in_channels, bit_depth=pipeline.config.bit_depth)
                except DataError as problem:
                    skipped[name] = str(problem)
                    continue
                images.append(from_pixels(torch.from_numpy(pixels)[None])[0])
                read[name] = len(data)
            if images:
                files = pipeline.codec.compress_batch(
                    images,
                    mode=mode,
                    labels=[self._label(folder / name, pipeline, mode) for name in read],
                    max_levels=self.max_levels,
                    verify=self.verify,
                    hooks=hooks.of_part(before=before, share=len(images) * counts[size], total=total),
                )
                yield {name: (data, read[name]) for name, data in zip(read, files, strict=True)}
            before += len(names) * counts[size]

    def _label(self, path: Path, pipeline: Pipeline, mode: Mode) -> int | None:
        """Find the class of an image: as asked for, or by the name of its folder."""
        name = self.class_name or Path(os.path.abspath(path)).parent.name
        return pipeline.class_index(name) if mode == "prior" and name in pipeline.config.classes else None

    def _write_listing(
        self,
        names: Sequence[str],
        rows: Mapping[str, dict[str, Any]],
        skipped: Mapping[str, str],
        mode: Mode,
        header: Header,
        earlier: Sequence[dict[str, Any]],
    ) -> None:
        listing = {
            "pipeline": str(self.pipeline),
            "mode": mode,
            "tokenizer": header.tokenizer,
            "priors": header.priors or None,
            "levels": header.num_levels,
            "images": [rows[name] for name in names if name in rows],
            "skipped": [{"file": name, "reason": skipped[name]} for name in names if name in skipped],
        }
        self.write_listing(listing, earlier)


def batches_of_one_key(keys: Mapping[str, Hashable], batch_size: int) -> Iterator[tuple[Any, list[str]]]:
    """Give keys and names that share them, at most `batch_size` at a time."""
    groups: dict[Hashable, list[str]] = {}
    for name, key in keys.items():
        groups.setdefault(key, []).append(name)
    for key, names in groups.items():
        for first in range(0, len(names), batch_size):
            yield key, names[first : first + batch_size]


def codes_per_image(config: VQVAE2Config, size: tuple[int, int], levels: int | None = None) -> int:
    """Count the codes of an image of `size` pixels, in its upper `levels` levels or all."""
    return sum(height * width for height, width in config.code_shapes(*size)[:levels])


def _find_images(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Give the folder of the images, and their names in it."""
    from vqvae2.data import ImageFolder

    return (path.parent, (path.name,)) if path.is_file() else (path, ImageFolder(path).all_names)


def _find_sizes(
    folder: Path, names: tuple[str, ...], pipeline: Pipeline, skipped: dict[str, str]
) -> dict[str, tuple[int, int]]:
    """Read heights and widths from the heads of files; those that cannot be compressed go to `skipped`."""
    from vqvae2.images import image_info

    sizes: dict[str, tuple[int, int]] = {}
    for name in names:
        try:
            info = image_info(_read_bytes(folder / name))
            pipeline.codec.check_size((info.height, info.width))
        except (DataError, ConfigError) as problem:
            skipped[name] = str(problem)
        else:
            sizes[name] = (info.height, info.width)
    return sizes


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}") from error


def _row(output: str, name: str, data: bytes, header: Header, pipeline: Pipeline) -> dict[str, Any]:
    """Say of an image what the listing says."""
    height, width = header.size
    return {
        "file": output,
        "original": name,
        "height": height,
        "width": width,
        "bytes": len(data),
        "bits_per_pixel": 8 * len(data) / (height * width),
        "class": None if header.label is None else pipeline.config.classes[header.label],
    }


def _fixed_width_bytes(config: VQVAE2Config, header: Header) -> int:
    """Count the bytes that the codes of a file would take at a fixed width."""
    from vqvae2.codec.fixed_width import packed_bytes

    shapes = config.code_shapes(*header.size)[: header.num_levels]
    return sum(
        packed_bytes(height * width, num_embeddings)
        for (height, width), num_embeddings in zip(shapes, config.codebook_sizes, strict=False)
    )
