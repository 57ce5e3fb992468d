"""`vqvae2 compress`: images as files of the package's own format."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import OutputFolder, name_outputs, read_bytes
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import CodecWriter, ImageWriter
from vqvae2.codec.bitstream import Mode
from vqvae2.errors import ConfigError, DataError

__all__ = ["Compress"]


@dataclass(frozen=True, kw_only=True)
class Compress(CodecWriter, ImageWriter):
    """Write images as small files, which `vqvae2 decompress` decodes with the same pipeline.

    Each image becomes a .vq2 file of the same name, in the same sub-folder; a.png and a.jpg in one folder become
    a.png.vq2 and a.jpg.vq2. Files keep the codes bit for bit, and lose what the tokenizer loses of an image. If a
    folder is named like a class, its images are coded as images of that class.

    Example: vqvae2 compress photos --pipeline photos-run --out compressed
    """

    mode: Mode | None = None
    """Code with the priors' probabilities (the default if there are priors), or raw, which is larger but quick."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images, which only changes the size of files; by default their folders' names tell it."""
    verify: bool = True
    """Decode every file again and compare before it is written, which doubles the time."""

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.codec.fixed_width import packed_bytes

        pipeline = self.load_pipeline()
        mode: Mode = self.mode or ("prior" if pipeline.priors else "raw")
        if self.class_name is not None:
            pipeline.class_index(self.class_name)
            if mode == "raw":
                raise ConfigError("`class` must be left out if `mode` is raw, since raw codes need no class")
        folder, names = self.find_images(with_unused=True)
        outputs = dict(list(name_outputs(names, ".vq2").items())[: self.limit or None])  # no limit changes a name
        tree = OutputFolder(self.out, "compressed.json", self.force, ".vq2", outputs)
        tree.check()
        start = time.perf_counter()
        self._compress(pipeline, mode, folder, tree, terminal)
        results = tree.finish(self.images, "compressed")
        rows, levels = tree.rows.values(), slice(self.max_levels)
        num_bytes = sum(row["bytes"] for row in rows)
        config = pipeline.tokenizer.config
        raw_bytes = sum(
            packed_bytes(math.prod(shape), num_embeddings)
            for row in rows
            for shape, num_embeddings in zip(
                config.code_shapes(row["height"], row["width"])[levels], config.codebook_sizes[levels], strict=True
            )
        )
        return {
            **results,
            "bytes": num_bytes,
            "bits_per_pixel": 8 * num_bytes / sum(row["height"] * row["width"] for row in rows),
            **({"percent_of_raw_codes": 100 * num_bytes / raw_bytes} if mode == "prior" else {}),
            "original_bytes": sum((folder / name).stat().st_size for name in tree.rows),
            "seconds": time.perf_counter() - start,
        }

    def _compress(
        self, pipeline: vqvae2.Pipeline, mode: Mode, folder: Path, tree: OutputFolder, terminal: Terminal
    ) -> None:
        """Write the files, one batch of images of one size at a time."""
        import torch

        config, codec = pipeline.tokenizer.config, pipeline.codec
        sizes = _find_sizes(codec, folder, tree)

        def num_codes(size: tuple[int, int]) -> int:
            return sum(map(math.prod, config.code_shapes(*size)[: self.max_levels]))

        terminal.stage("compress", f"{len(sizes)} images, {sum(map(num_codes, sizes.values()))} codes")
        for batch, hooks in self.batches(sizes, num_codes, terminal):
            options = {"channels": config.in_channels, "bit_depth": pipeline.config.bit_depth}
            images = {name: torch.from_numpy(pixels) for name, pixels in tree.read(folder, batch, **options)}
            files = codec.compress_batch(
                [vqvae2.from_pixels(pixels[None])[0] for pixels in images.values()],
                mode=mode,
                labels=[self._label(folder / name, pipeline, mode) for name in images],
                max_levels=self.max_levels,
                verify=self.verify,
                hooks=hooks,
            )
            written = {}
            for name, data in zip(images, files, strict=True):
                header = vqvae2.read_bitstream(BytesIO(data), max_pixels=self.max_pixels).header
                height, width = header.size
                row = {
                    "height": height,
                    "width": width,
                    "bits_per_pixel": 8 * len(data) / (height * width),
                    "class": None if header.label is None else pipeline.config.classes[header.label],
                }
                written[name] = (row, data)
                tree.facts = {"pipeline": self.pipeline, "mode": mode, "levels": header.num_levels}
                tree.facts |= {"tokenizer": header.tokenizer, "priors": header.priors or None}
            tree.write(written)

    def _label(self, path: Path, pipeline: vqvae2.Pipeline, mode: Mode) -> int | None:
        """Find the class of an image: as asked for, or by the name of its folder."""
        name = self.class_name or Path(os.path.abspath(path)).parent.name
        return pipeline.class_index(name) if mode == "prior" and name in pipeline.config.classes else None


def _find_sizes(codec: vqvae2.Codec, folder: Path, tree: OutputFolder) -> dict[str, tuple[int, int]]:
    """Read heights and widths from the heads of files, and note which files cannot be compressed."""
    from vqvae2.images import image_info

    sizes: dict[str, tuple[int, int]] = {}
    for name in tree.outputs:
        try:
            info = image_info(read_bytes(folder / name))
            codec.check_size((info.height, info.width))
        except (DataError, ConfigError) as problem:
            tree.failed[name] = str(problem)
        else:
            sizes[name] = (info.height, info.width)
    return sizes
